//===- Artifacts.h - calling the hand-written artifacts ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_ARTIFACTS_H
#define MOE_RUNTIME_CTS_ARTIFACTS_H

#include "Group.h"

namespace moe::rt::cts {

/// The modes of tests/artifacts/exchange.c.
enum Mode : int64_t {
  behave = 0,
  failHere = 1,
  dieByKill = 2,
  loopForever = 3,
  otherOrder = 4,
  leaveEarly = 5,
  leak = 6,
  freeGarbage = 7,
  exitCleanly = 8,
  slow = 9,
  returnStatic = 10,
  returnInput = 11,
  allocTooMuch = 12,
  badPeer = 13,
  segfault = 14,
  wrongShape = 15,
  unknownCode = 16
};

/// What rank `rank` sends in round `round`.
inline std::vector<float> rowsOf(int rank, int round) {
  std::vector<float> rows(4 * ((rank * 3 + round) % 5));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = float(rank * 1000 + round * 10) + float(i);
  return rows;
}

/// The concatenation of what all ranks send.
inline std::vector<float> gathered(int size, int round) {
  std::vector<float> all;
  for (int r = 0; r < size; ++r) {
    std::vector<float> rows = rowsOf(r, round);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

/// Calls an entry of exchange.c; rank `who` is in `mode`.
inline Status callExchange(Context &context, Entry &entry, int64_t mode,
                           int64_t who, std::vector<float> rows,
                           std::vector<float> &result) {
  int64_t shape[2] = {int64_t(rows.size()) / 4, 4};
  DLTensor scalars[2] = {}, matrix = {};
  int64_t values[2] = {mode, who};
  for (int i = 0; i < 2; ++i) {
    scalars[i].data = &values[i];
    scalars[i].device = {kDLCPU, 0};
    scalars[i].dtype = {kDLInt, 64, 1};
  }
  matrix.data = rows.data();
  matrix.device = {kDLCPU, 0};
  matrix.dtype = {kDLFloat, 32, 1};
  matrix.ndim = 2;
  matrix.shape = shape;
  std::vector<DLManagedTensor *> outputs;
  Status status =
      context.call(entry, {&scalars[0], &scalars[1], &matrix}, outputs);
  result.clear();
  if (status.isOk()) {
    const DLTensor &out = outputs[0]->dl_tensor;
    result.resize(out.shape[0] * out.shape[1]);
    status = context.copyToHost(out, result.data(), result.size() * 4);
    outputs[0]->deleter(outputs[0]);
  }
  return status;
}

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_ARTIFACTS_H
