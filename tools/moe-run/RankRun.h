//===- RankRun.h - what one rank of moe-run does ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_RANKRUN_H
#define MOE_TOOLS_MOERUN_RANKRUN_H

#include "ArtifactFile.h"
#include "Options.h"
#include "moe-runtime/Bootstrap.h"

#include <functional>
#include <memory>

namespace moe::run {

/// How a rank ended. `isOrigin`: the error is this rank's own, so it is the
/// one to print.
struct Outcome {
  rt::Status status;
  bool isOrigin = false;
};

/// Name under which a rank writes an output until all ranks have finished.
/// `token` tells runs apart.
std::string temporaryName(const std::string &output, int rank, int token);

/// Loads the artifact, runs the entry, writes the outputs. Rank 0 prints what
/// --json or --bench ask for. Collective. `onFailure` hears of an error before
/// this rank tries to end together with the others.
Outcome runRank(const Options &options, const ArtifactFile &file,
                std::unique_ptr<rt::Bootstrap> bootstrap, int token,
                const std::function<void(const Outcome &)> &onFailure);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_RANKRUN_H
