//===- Turns.h - the order in which ranks run their calls -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_JAX_TURNS_H
#define MOE_PYTHON_JAX_TURNS_H

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace moe::py {

/// XLA starts what does not depend on each other in any order, on CPU devices
/// even in another one on each device. Ranks have to run their exchanges in the
/// same order, so those of this process take the order of the first of them.
class Turns {
public:
  /// One instruction of one run of a program, the same on all devices.
  struct Call {
    int64_t run;
    const void *site;
    bool operator==(const Call &other) const {
      return run == other.run && site == other.site;
    }
  };

  /// `areAllHere`: all ranks of the group are of this process. Ranks of other
  /// processes cannot be asked, so then the program has to order its calls.
  Turns(size_t numRanks, bool areAllHere)
      : areAllHere(areAllHere), ranks(numRanks) {}

  /// Whether a call may go on after XLA's function has returned. A rank that is
  /// alone in its process keeps XLA waiting instead, which then does not begin
  /// the next program.
  bool mayReturnEarly() const { return areAllHere || ranks.size() > 1; }
  /// Says that XLA has started a call on a rank.
  void announce(size_t rank, const Call &call);
  /// Waits for the turn of an announced call. After `seconds` in which no turn
  /// has ended returns what was waited for, else "". `hasFailed` says that
  /// waiting is no use any more; it is the call's turn then.
  std::string wait(size_t rank, const Call &call, double seconds,
                   const std::function<bool()> &hasFailed);
  /// Ends a turn.
  void done(size_t rank);
  /// Whether no call is announced.
  bool isIdle();
  /// How many turns have ended; it grows as long as calls go on.
  size_t numEnded();
  /// Forgets what calls there were, when none is left.
  void reset();

private:
  struct Rank {
    std::deque<Call> waiting;
    bool isRunning = false;
    size_t next = 0; ///< in order
  };
  bool isTurn(const Rank &rank, const Call &call) const;

  const bool areAllHere;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Rank> ranks;
  std::deque<Call> order;
  size_t numForgotten = 0; ///< before order's first
  size_t ended = 0;
};

} // namespace moe::py

#endif // MOE_PYTHON_JAX_TURNS_H
