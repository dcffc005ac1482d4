//===- JobOptions.h - options on which all ranks agree ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// In a job each process has a command line of its own. Some options decide
/// which steps the ranks make together: where they differ, ranks would wait for
/// each other in vain. So the processes compare them when they meet.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_JOBOPTIONS_H
#define MOE_TOOLS_MOERUN_JOBOPTIONS_H

#include "ArtifactFile.h"
#include "Options.h"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace moe::run {

/// What one process tells the others: the size of its job, the target, and its
/// options. Paths may differ, and so may what each rank writes. Entries are
/// compared by the runtime, op by op: their names may have {rank}.
nlohmann::json describeOptions(const Options &options, const ArtifactFile &file,
                               int size);

/// How the description of rank `a` differs from that of rank `b`, as an error;
/// "" where both are the same, or one of them is no description.
std::string compareOptions(int a, const std::string &textOfA, int b,
                           const std::string &textOfB);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_JOBOPTIONS_H
