//===- PoolServer.h - the parent of the rank pool ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_POOLSERVER_H
#define MOE_RUNTIME_CTS_POOLSERVER_H

#include "RankPool.h"
#include "moe-runtime/SocketHub.h"
#include "moe-runtime/WaitClock.h"

#include <atomic>
#include <list>
#include <map>
#include <sys/types.h>
#include <thread>

namespace moe::rt::cts {

/// Serves one group in a thread, until all its ranks have gone.
class GroupServer {
public:
  explicit GroupServer(std::vector<UniqueFd> sockets)
      : hub(std::move(sockets)), thread([this] { serve(); }) {}
  ~GroupServer() {
    isStopped = true;
    thread.join();
  }
  bool isOver() const { return over; }

private:
  void serve() {
    while (!isStopped && !hub.allClosed())
      hub.step(50);
    over = true;
  }

  SocketHub hub;
  std::atomic<bool> isStopped{false}, over{false};
  std::thread thread;
};

/// The parent of the pool.
class PoolServer {
public:
  explicit PoolServer(double silenceSeconds) : silenceSeconds(silenceSeconds) {}

  /// Forks the workers. In one of them, returns true and makes `worker`.
  bool start(int size, std::unique_ptr<PoolWorker> &worker);
  /// Serves the workers until all have ended; the exit code of the run.
  int serve();

private:
  struct Worker {
    pid_t pid = -1;
    UniqueFd socket;
    int lastGroup = 0;
    int waitsFor = 0; ///< the group it awaits an answer of, or 0
    bool isFinished = false;
    std::string death; ///< how it died
  };
  struct Group {
    int size = 0;
    std::string test; ///< that it belongs to
    bool isStarted = false;
    std::string error; ///< why it will not be
    std::vector<bool> hasJoined;
    std::vector<PoolMessage> ends; ///< per rank; its kind is 0 until then
  };

  void receive(int rank);
  void handle(int rank, const PoolMessage &message);
  void join(int rank, const PoolMessage &message);
  void advanceAll();
  void advance(int number, Group &group);
  void startGroup(int number, Group &group);
  void tellRanksEnded(int number, Group &group);
  void tell(int rank, const PoolMessage &message, int fd = -1);
  void reap(int rank);
  void noteDeath(int rank, int code, const std::string &how);
  void killAll();
  bool endSilent();
  bool isRunning() const;
  void complain(int rank, const std::string &text);

  std::vector<Worker> workers;
  std::map<int, Group> groups; ///< those that some rank still waits for
  std::list<GroupServer> servers;
  double silenceSeconds;
  WaitClock silence; ///< since a worker was heard
  bool hasFailed = false;
};

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_POOLSERVER_H
