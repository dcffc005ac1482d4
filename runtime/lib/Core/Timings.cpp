//===- Timings.cpp - time per collective and phase ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Timings.h"

#include <cstring>
#include <ctime>

using namespace moe::rt;

int64_t moe::rt::nowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t(now.tv_sec) * 1000000000 + now.tv_nsec;
}

void Timings::enter(const char *newOp, const char *newLocation,
                    const char *phase) {
  endCall();
  op = newOp;
  location = newLocation;
  // Calls go through the same phases in the same order, so that the next one is
  // most likely where it was the last time.
  for (size_t i = 0; i < keys.size(); ++i) {
    size_t at = (likely + i) % keys.size();
    const Key &key = keys[at];
    if (key.op != op || key.location != location || key.phase != phase)
      continue;
    current = key.row;
    likely = at + 1;
    return;
  }
  size_t row = 0;
  while (row < table.size() &&
         (table[row].op != op || table[row].location != location ||
          table[row].phase != phase))
    ++row;
  if (row == table.size())
    table.push_back({op, location, phase, 0, 0});
  current = static_cast<int>(row);
  keys.push_back({op, location, phase, current});
}

void Timings::endCall() {
  int64_t now = nowNs();
  if (current >= 0) {
    table[current].ns += now - since;
    ++table[current].calls;
    if (trace)
      trace->add(current, since, now);
  }
  current = -1;
  since = now;
}

void Timings::clear() {
  for (Row &row : table)
    row.calls = row.ns = 0;
}
