//===- Launch.h - who starts the ranks --------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_LAUNCH_H
#define MOE_TOOLS_MOERUN_LAUNCH_H

#include "Options.h"

namespace moe::run {

/// Runs the artifact: joins the job of a launcher, or starts the ranks.
/// `usageError` is what is wrong with the command line, or "". Returns the
/// exit code.
int launch(const Options &options, const std::string &usageError);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_LAUNCH_H
