//===- ExchangeCases.h - what every transport has to do ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The part of the conformance suite for transports that needs nothing but a
/// group: programs whose ranks are started by something else than the suite,
/// such as mpirun, run the cases on their group one after the other.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_EXCHANGECASES_H
#define MOE_RUNTIME_CTS_EXCHANGECASES_H

#include "Messages.h"

namespace moe::rt::cts {

struct ExchangeCase {
  const char *name;
  /// Called on all ranks of a group, with the artifact for its size. The group
  /// is good again afterwards.
  void (*run)(Context &context, Artifact &artifact);
};

const std::vector<ExchangeCase> &exchangeCases();

/// Sanitizers make exchanges up to a hundred times slower. What they look for
/// shows in few repetitions and small groups; what needs many of them is the
/// business of the plain build.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool isSanitized = true;
#else
constexpr bool isSanitized = false;
#endif

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_EXCHANGECASES_H
