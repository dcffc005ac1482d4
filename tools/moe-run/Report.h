//===- Report.h - what moe-run prints about a run ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_REPORT_H
#define MOE_TOOLS_MOERUN_REPORT_H

#include "Options.h"
#include "moe-runtime/Manifest.h"
#include "moe-runtime/Status.h"
#include "moe-runtime/Timings.h"

#include <string>
#include <vector>

namespace moe::run {

struct OutputFact {
  rt::DType dtype;
  std::vector<int64_t> shape;
  std::string path; ///< "" when it was not written
};

/// What a rank tells rank 0.
struct RankReport {
  int rank = 0;
  std::string device; ///< name of the GPU, or ""
  std::vector<int64_t> callNs;
  std::vector<rt::Timings::Row> timings;
  std::vector<OutputFact> outputs;
};

std::string toJson(const RankReport &report);

/// The reports of all ranks as one text: a JSON document with --json, else a
/// table.
std::string makeReport(const Options &options, const rt::Manifest &manifest,
                       const std::string &file, const std::string &entry,
                       const std::vector<std::string> &reports);

/// The document of --probe=json.
std::string probe();

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_REPORT_H
