//===- ErrorCalls.h - calls that may fail -----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_ERRORCALLS_H
#define MOE_RUNTIME_CTS_ERRORCALLS_H

#include "Artifacts.h"
#include "moe-runtime/Deadline.h"

#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

namespace moe::rt::cts {

/// Of waits in vain, in seconds. Longer than a busy machine keeps one rank from
/// what the others do in time: the group is made under this time-out as well.
inline constexpr double shortTimeout = 4;

inline void expectParts(const Status &status,
                        std::initializer_list<const char *> parts) {
  for (const char *part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "no '" << part << "' in: " << status.message();
}

/// Stays away until another rank has reported an error: if this one left
/// earlier, on a busy machine, that would be what the others report.
inline void awaitErrorOfOthers(Context &context) {
  rt::Deadline deadline(60);
  while (context.originRank() < 0 && !deadline.isOver())
    usleep(10000);
}

/// Calls the entry that rotates a row a number of times.
inline Status callRotateTimes(Context &context, Entry &entry, int64_t times) {
  float row[4] = {};
  int64_t shape[2] = {1, 4};
  DLTensor number{}, matrix{};
  number.data = &times;
  number.dtype = {kDLInt, 64, 1};
  matrix.data = row;
  matrix.dtype = {kDLFloat, 32, 1};
  matrix.ndim = 2;
  matrix.shape = shape;
  number.device = matrix.device = {kDLCPU, 0};
  std::vector<DLManagedTensor *> outputs;
  Status status = context.call(entry, {&number, &matrix}, outputs);
  if (status.isOk())
    outputs[0]->deleter(outputs[0]);
  return status;
}

/// Loads exchange4 and calls `entryName` on four ranks; rank 2 is in `mode`.
inline Status callWith(Context &context, const char *entryName, int64_t mode) {
  auto artifact = context.load(artifactPath("exchange4"), "art");
  if (!artifact.isOk())
    return artifact.status();
  std::vector<float> result;
  return callExchange(context, **(*artifact)->entry(entryName), mode, 2,
                      rowsOf(context.rank(), 1), result);
}

inline std::string readAll(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_ERRORCALLS_H
