//===- Deadline.h - bounds of waits -----------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_DEADLINE_H
#define MOE_RUNTIME_DEADLINE_H

#include "moe-runtime/WaitClock.h"

#include <algorithm>

namespace moe::rt {

/// The end of a wait by the clock of a process that may be stopped.
class Deadline {
public:
  explicit Deadline(double seconds)
      : totalNs(int64_t(seconds * 1e9)), last(nowNs()), clock(last) {}

  bool isOver() { return look() >= totalNs; }

  /// Whether this process has been stopped since the wait began: between two
  /// looks, a machine that is busy makes shorter gaps.
  bool hasBeenStopped() {
    (void)look();
    return longestGapNs > 500000000;
  }

  /// How long to sleep before the next look.
  int sliceMs() {
    int64_t leftMs = (totalNs - look() + 999999) / 1000000;
    return static_cast<int>(std::clamp<int64_t>(leftMs, 0, WaitClock::sliceMs));
  }

private:
  int64_t look() {
    int64_t now = nowNs();
    longestGapNs = std::max(longestGapNs, now - last);
    last = now;
    return clock.elapsedNs(now);
  }

  int64_t totalNs;
  int64_t last;
  int64_t longestGapNs = 0;
  WaitClock clock;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEADLINE_H
