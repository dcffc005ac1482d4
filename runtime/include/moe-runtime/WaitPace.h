//===- WaitPace.h - the pauses of a waiting rank ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_WAITPACE_H
#define MOE_RUNTIME_WAITPACE_H

#include <algorithm>
#include <cstdint>
#include <sched.h>
#include <thread>

namespace moe::rt {

/// What a rank does between two looks at what it waits for: it spins, then lets
/// others run, then sleeps for longer and longer.
class WaitPace {
public:
  /// How long each of these lasts, for so many ranks on this machine. Sleeps
  /// double from the first to the longest.
  struct Limits {
    explicit Limits(int ranks, int64_t firstSleepNs = 500000,
                    int64_t longestSleepNs = 4000000)
        : firstSleepNs(firstSleepNs), longestSleepNs(longestSleepNs) {
      // More ranks than processors: the awaited rank cannot run while we spin,
      // and each round of yields takes longer.
      int processors = static_cast<int>(std::thread::hardware_concurrency());
      bool isCrowded = ranks > processors;
      spins = isCrowded ? 20 : 2000;
      yields = isCrowded ? 8 : 200;
    }
    int spins, yields;
    int64_t firstSleepNs, longestSleepNs;
  };

  explicit WaitPace(const Limits &limits)
      : limits(limits), sleepNs(limits.firstSleepNs) {}

  /// The next pause. `sleep(ns)` sleeps for at most so long, or until what is
  /// awaited is likely to be there. True when it is time to look for errors.
  template <typename Sleep> bool pause(Sleep sleep) {
    if (step < limits.spins) {
      ++step;
      relax();
      return false;
    }
    int round = step - limits.spins;
    if (round < limits.yields) {
      ++step;
      sched_yield();
      return round % 32 == 31;
    }
    sleep(sleepNs);
    sleepNs = std::min(2 * sleepNs, limits.longestSleepNs);
    return true;
  }

  /// What was awaited has come, and something else is awaited next.
  void restart() { *this = WaitPace(limits); }

private:
  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  Limits limits;
  int step = 0;
  int64_t sleepNs;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_WAITPACE_H
