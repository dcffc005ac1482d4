//===- RankPool.h - rank processes that live through all tests --*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A process that uses a GPU takes seconds to start. With `--rank_pool` a test
/// program forks as many workers as its largest group has ranks, and each of
/// them runs all tests in the same order. For a group of n processes the first
/// n workers ask the parent for a socket and are its ranks; the others go on.
/// Threads are ranks in worker 0 alone. The parent serves the groups, touches
/// no device, and bounds everything: a worker that is silent for too long, or
/// dies, fails its groups and the run.
///
/// Worker 0 prints and writes results as usual. Of the others only failures
/// are printed; worker 0 learns of them and fails the test too.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_RANKPOOL_H
#define MOE_RUNTIME_CTS_RANKPOOL_H

#include "Group.h"

namespace moe::rt::cts {

/// What the main of a test program does: `--rank_pool[=SECONDS]` beside
/// GoogleTest's flags, where SECONDS bounds the silence of a worker.
int runSuite(int argc, char **argv);

/// A message between a worker and the pool.
struct PoolMessage {
  enum Kind : int32_t {
    Join = 1,  ///< worker: wants to be a rank of `group`, of `number` ranks, in
               ///< the test `text`
    Joined,    ///< pool: all have come; the rank's socket comes along
    Refused,   ///< pool: why there will be no such group
    Ended,     ///< worker: how its part of `group` ended
    RankEnded, ///< pool, to worker 0: how rank `number` of `group` ended
    Alive,     ///< worker 0: begins a group of threads
    Finished   ///< worker: has run all tests
  };
  int32_t kind = 0;
  int32_t group = 0;
  int32_t number = 0;
  int32_t code = 0;
  char text[1000] = {}; ///< ends with a zero

  void setText(const std::string &from);
};

/// A worker's side of the pool.
class PoolWorker {
public:
  PoolWorker(int rank, int size, UniqueFd socket);
  ~PoolWorker();

  /// That of this process; null outside of a pool.
  static PoolWorker *get();
  int rank() const { return myRank; }

  /// Runs the tests; the process's exit code.
  int runTests();

  /// The next group of processes. Calls `part` with the rank's socket when
  /// this worker belongs to it. Worker 0 gets the result of all ranks; for the
  /// others the group is always good.
  GroupResult runProcesses(int size, const std::function<void(UniqueFd)> &part);
  /// The same for threads, all of them in worker 0.
  GroupResult runThreads(int size, const std::function<GroupResult()> &run);

private:
  class FailureListener;

  void send(PoolMessage message);
  void receive(PoolMessage &answer, UniqueFd *fd = nullptr);
  GroupResult awaitRanks(int size);

  int myRank;
  int poolSize;
  UniqueFd socket;
  int groups = 0; ///< how many groups of processes there have been
  FailureListener *failures = nullptr; ///< GoogleTest's
};

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_RANKPOOL_H
