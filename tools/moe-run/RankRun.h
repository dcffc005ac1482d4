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
#include "Outputs.h"
#include "moe-runtime/Bootstrap.h"

#include <functional>
#include <memory>

namespace moe::run {

/// How a rank ended. `isOrigin`: the error is this rank's own, so it is the
/// one to print.
struct Outcome {
  rt::Status status;
  bool isOrigin = false;
  int exitCode = 0; ///< that moe-run is to end with; 0 for any
};

/// What the process that started a rank hears of it.
struct RankObserver {
  /// What it does from now on: "loading the artifact". A positive limit is the
  /// time after which it cannot be doing that any more.
  std::function<void(const std::string &phase, double limitSeconds)> onPhase;
  /// An error, before the rank tries to end together with the others.
  std::function<void(const Outcome &)> onFailure;
  /// All ranks have written their outputs. `document` is what --json or
  /// --bench ask for, on rank 0.
  std::function<void(const std::string &document)> onSuccess;
};

/// How long a rank may take to end after its last step.
double endSeconds(const Options &options);

/// Loads the artifact, runs the entry, writes the outputs to `outputs`, which
/// have no names yet. Collective.
Outcome runRank(const Options &options, const ArtifactFile &file,
                std::unique_ptr<rt::Bootstrap> bootstrap,
                const std::vector<OutputFile *> &outputs,
                const RankObserver &observer);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_RANKRUN_H
