//===- Deadline.h - bounds of waits ------------------------------*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_DEADLINE_H
#define MOE_RUNTIME_DEADLINE_H

#include "moe-runtime/Timings.h"

#include <algorithm>

namespace moe::rt {

/// The end of a wait that looks at its deadline again and again. Time in which
/// the waiting process did not run does not count: when a whole job is stopped
/// and continued, nobody was late. Such time shows as a gap between two looks,
/// so a waiter sleeps for sliceMs() at most.
class Deadline {
public:
  explicit Deadline(double seconds)
      : leftNs(int64_t(seconds * 1e9)), lastNs(nowNs()) {}

  bool isOver() {
    int64_t now = nowNs();
    hasGap |= now - lastNs > longestGapNs;
    leftNs -= std::min(now - lastNs, longestGapNs);
    lastNs = now;
    return leftNs <= 0;
  }

  /// Whether this process has been stopped since the wait began.
  bool hasBeenStopped() const { return hasGap; }

  /// How long to sleep before the next look.
  int sliceMs() {
    if (isOver())
      return 0;
    return static_cast<int>(std::min<int64_t>(100, leftNs / 1000000 + 1));
  }

private:
  /// Five slices: a machine that is busy makes shorter ones.
  static constexpr int64_t longestGapNs = 500000000;

  int64_t leftNs;
  int64_t lastNs;
  bool hasGap = false;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEADLINE_H
