//===- ErrorDetails.h - what is known of an error ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_ERRORDETAILS_H
#define MOE_RUNTIME_ERRORDETAILS_H

#include "moe-runtime/ArtifactABI.h"

#include <string>

namespace moe::rt {

/// The parts of an error's message, as far as they are known: -1 and "" stand
/// for what is not. They travel beside the message, also from rank to rank, so
/// that no program has to take a message apart.
struct ErrorDetails {
  int rank = -1;   ///< that reports the error
  int origin = -1; ///< whose error it was first
  /// Its code on the origin; MOERT_OK stands for the error's own code.
  moert_code cause = MOERT_OK;
  int peer = -1;        ///< rank that was waited for, or that a value is about
  std::string op;       ///< "moe.dispatch"
  std::string location; ///< "layer.mlir:12:8"
  std::string phase;    ///< "route"
  std::string what;     ///< "expert id of token 3, slot 1"
  std::string expected; ///< "-1 to 7"
  std::string seen;     ///< "12"
};

/// One line that decodeDetails reads; what exceeds `most` characters is cut.
std::string encodeDetails(const ErrorDetails &details, size_t most);
ErrorDetails decodeDetails(const std::string &line);

} // namespace moe::rt

#endif // MOE_RUNTIME_ERRORDETAILS_H
