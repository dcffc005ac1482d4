//===- TraceFile.h - what ranks did when, for trace viewers -----*- C++
//-*-===////
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// The file of --trace: one JSON document in the format of Chrome's trace
/// viewer, which Perfetto reads as well. Ranks are its processes. All ranks of
/// a machine have one monotonic clock, so their events are on one time line.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_TRACEFILE_H
#define MOE_TOOLS_MOERUN_TRACEFILE_H

#include "moe-runtime/Timings.h"

#include <string>
#include <utility>
#include <vector>

namespace moe::run {

/// What a rank tells rank 0 of its timed calls.
struct RankTrace {
  int rank = 0;
  std::string device; ///< name of the GPU, or ""
  std::vector<rt::Timings::Row> rows;
  std::vector<rt::Trace::Event> events; ///< empty on GPUs
  uint64_t dropped = 0;
  std::vector<std::pair<int64_t, int64_t>> calls; ///< begin and end
};

/// Events that each of so many ranks has room for. Rank 0 holds those of all.
size_t traceCapacity(int ranks);

std::string toText(const RankTrace &trace);

/// The document, of the texts of all ranks.
std::string makeTraceDocument(const std::string &entry,
                              const std::vector<std::string> &texts);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_TRACEFILE_H
