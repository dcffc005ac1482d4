//===- Options.h - command line of moe-run ----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_OPTIONS_H
#define MOE_TOOLS_MOERUN_OPTIONS_H

#include <cstddef>
#include <string>
#include <vector>

namespace moe::run {

struct Options {
  int ranks = 0;      ///< 0: as many as the artifact is for
  std::string target; ///< "": what the artifact is for
  std::string file;
  std::string entry;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::string trace; ///< file for begin and end of each phase, or ""
  int bench = 0;
  int warmup = -1; ///< -1: 2 with --bench, else 0
  bool json = false;
  bool into = false;  ///< give memory for the results
  bool alone = false; ///< whoever started this process, it starts the ranks
  bool probe = false;
  bool help = false;
  double timeoutSeconds = 20.0;
  size_t symmReserveBytes = 0; ///< 0: the runtime's default

  int numWarmups() const { return warmup >= 0 ? warmup : bench ? 2 : 0; }
};

/// Ranks that one moe-run can start.
constexpr int maxRanks = 250;

/// Reads the command line. False after filling `error`.
bool parseOptions(int argc, char **argv, Options &options, std::string &error);

/// "cuda" for "cuda:sm_80".
std::string backendOf(const std::string &target);

const char *usage();

/// `path` with "{rank}" replaced.
std::string forRank(std::string path, int rank);

/// Files that a rank writes: its results in order, and on rank 0 the trace.
std::vector<std::string> outputPaths(const Options &options, int rank);

/// Whether the file to run can be read, on all ranks.
bool checkFile(const Options &options, int ranks, std::string &error);

/// Checks what needs only the file system: inputs exist, and no two ranks
/// write to one file. Run once the number of ranks is known.
bool checkPaths(const Options &options, int ranks, std::string &error);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_OPTIONS_H
