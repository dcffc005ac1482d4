//===- WaitClock.h - how long a rank has waited -----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_WAITCLOCK_H
#define MOE_RUNTIME_WAITCLOCK_H

#include "moe-runtime/Timings.h"

#include <algorithm>

namespace moe::rt {

/// Measures a wait that is bounded. Ranks that are stopped and continued as a
/// whole (Ctrl-Z, a frozen container) would all find their time up, though
/// nobody was late. So time in which the waiter did not run does not count: it
/// looks at the clock again and again, and each look adds what has passed since
/// the one before, but no more than `mostPerLookNs`.
class WaitClock {
public:
  explicit WaitClock(int64_t now = nowNs()) : last(now) {}

  /// What has passed for the waiter. To be asked much more often than every
  /// `mostPerLookNs`.
  int64_t elapsedNs(int64_t now = nowNs()) {
    passed += std::clamp<int64_t>(now - last, 0, mostPerLookNs);
    last = now;
    return passed;
  }
  bool hasPassed(double seconds) {
    return double(elapsedNs()) >= seconds * 1e9;
  }

  static constexpr int64_t mostPerLookNs = 100000000;
  /// How long to sleep at most between two looks.
  static constexpr int sliceMs = 20;

private:
  int64_t last;
  int64_t passed = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_WAITCLOCK_H
