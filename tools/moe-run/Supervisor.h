//===- Supervisor.h - moe-run's own process ---------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_SUPERVISOR_H
#define MOE_TOOLS_MOERUN_SUPERVISOR_H

#include "Options.h"

namespace moe::run {

/// Starts the ranks as child processes and sees to it that all of them end.
/// Returns the exit code; in a rank's process, that of the rank.
int runSupervised(const Options &options);

/// Runs this process as one rank of an MPI job.
int runMpiRank(const Options &options);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_SUPERVISOR_H
