//===- PoolServer.cpp - the parent of the rank pool -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PoolServer.h"

#include "Bootstrap/SocketIO.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

/// A worker reads at once what it waits for, if it lives.
static constexpr int64_t sendNs = 5000000000;

void PoolServer::complain(int rank, const std::string &text) {
  hasFailed = true;
  std::printf("rank %d: %s\n", rank, text.c_str());
  std::fflush(stdout);
}

//===----------------------------------------------------------------------===//
// Processes
//===----------------------------------------------------------------------===//

bool PoolServer::start(int size, std::unique_ptr<PoolWorker> &worker) {
  std::fflush(nullptr);
  pid_t parent = getpid();
  for (int r = 0; r < size; ++r) {
    int pair[2] = {-1, -1};
    int result = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    UniqueFd ours(pair[0]), theirs(pair[1]);
    pid_t pid = result == 0 ? fork() : -1;
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent)
        _exit(1);
      ours.reset();
      workers.clear();
      worker = std::make_unique<PoolWorker>(r, size, std::move(theirs));
      return true;
    }
    workers.emplace_back();
    workers.back().pid = pid;
    workers.back().socket = std::move(ours);
    if (pid < 0) {
      complain(r, format("cannot be started: %s", std::strerror(errno)));
      killAll();
      break;
    }
  }
  return false;
}

bool PoolServer::isRunning() const {
  return std::any_of(workers.begin(), workers.end(),
                     [](const Worker &worker) { return worker.pid > 0; });
}

void PoolServer::killAll() {
  for (Worker &worker : workers)
    if (worker.pid > 0) {
      kill(worker.pid, SIGKILL);
      if (worker.death.empty())
        worker.death = "killed with the others";
    }
}

void PoolServer::reap(int rank) {
  Worker &worker = workers[rank];
  int status = 0;
  if (worker.pid <= 0 || waitpid(worker.pid, &status, WNOHANG) != worker.pid)
    return;
  worker.pid = -1;
  // Its last words may still be in the socket.
  receive(rank);
  worker.socket.reset();
  if (!worker.death.empty())
    return;
  if (WIFSIGNALED(status)) {
    int signal = WTERMSIG(status);
    noteDeath(rank, 128 + signal,
              format("killed by signal %d (%s)", signal, strsignal(signal)));
  } else if (!worker.isFinished) {
    noteDeath(rank, WEXITSTATUS(status),
              format("ended early with exit code %d", WEXITSTATUS(status)));
  } else if (WEXITSTATUS(status) > 1) {
    complain(rank, format("exit code %d", WEXITSTATUS(status)));
  } else if (WEXITSTATUS(status) == 1) {
    hasFailed = true; // It has said why.
  }
}

void PoolServer::noteDeath(int rank, int code, const std::string &how) {
  workers[rank].death = how;
  complain(rank, how);
  // There are no results without worker 0.
  if (rank == 0)
    killAll();
  for (auto &[number, group] : groups)
    if (group.isStarted && rank < group.size && !group.ends[rank].kind) {
      PoolMessage &end = group.ends[rank];
      end.kind = PoolMessage::RankEnded;
      // An early exit(0) is none that is good.
      end.code = code ? code : 1;
      end.setText(how);
    }
  advanceAll();
}

/// When nobody has said anything for too long, ends those that run and do not
/// wait for others. False when even that did not help.
bool PoolServer::endSilent() {
  if (!silence.hasPassed(silenceSeconds))
    return true;
  silence = WaitClock();
  std::vector<int> silent, alive;
  for (int r = 0; r < int(workers.size()); ++r) {
    if (workers[r].pid <= 0 || !workers[r].death.empty())
      continue;
    alive.push_back(r);
    if (!workers[r].waitsFor)
      silent.push_back(r);
  }
  for (int r : silent.empty() ? alive : silent) {
    if (workers[r].pid <= 0 || !workers[r].death.empty())
      continue;
    kill(workers[r].pid, SIGKILL);
    noteDeath(r, 128 + SIGKILL,
              format("killed after %g s of silence", silenceSeconds));
  }
  return !alive.empty();
}

int PoolServer::serve() {
  while (isRunning() && endSilent()) {
    std::vector<pollfd> entries;
    for (Worker &worker : workers)
      entries.push_back({worker.socket.get(), POLLIN, 0});
    poll(entries.data(), entries.size(), 50);
    for (int r = 0; r < int(workers.size()); ++r) {
      if (entries[r].revents)
        receive(r);
      reap(r);
    }
    servers.remove_if([](GroupServer &server) { return server.isOver(); });
  }
  servers.clear();
  return hasFailed ? 1 : 0;
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

void PoolServer::receive(int rank) {
  Worker &worker = workers[rank];
  while (worker.socket.isValid()) {
    PoolMessage message;
    std::deque<UniqueFd> none;
    ssize_t bytes =
        receiveSome(worker.socket.get(), &message, sizeof(message), none);
    if (bytes == ssize_t(sizeof(message))) {
      handle(rank, message);
      continue;
    }
    if (bytes >= 0 || errno != EAGAIN)
      worker.socket.reset();
    return;
  }
}

void PoolServer::tell(int rank, const PoolMessage &message, int fd) {
  // One that does not take it is about to die, and that is noticed.
  int64_t deadline = nowNs() + sendNs;
  Status ignored = sendAll(workers[rank].socket.get(), &message,
                           sizeof(message), deadline, &fd, fd >= 0 ? 1 : 0);
  (void)ignored;
}

void PoolServer::handle(int rank, const PoolMessage &message) {
  silence = WaitClock();
  switch (message.kind) {
  case PoolMessage::Join:
    join(rank, message);
    break;
  case PoolMessage::Ended: {
    auto it = groups.find(message.group);
    if (it == groups.end() || rank >= it->second.size)
      break;
    if (rank == 0)
      workers[0].waitsFor = message.group;
    PoolMessage &end = it->second.ends[rank];
    end = message;
    end.kind = PoolMessage::RankEnded;
    break;
  }
  case PoolMessage::Finished:
    workers[rank].isFinished = true;
    break;
  default:
    break;
  }
  advanceAll();
}

void PoolServer::join(int rank, const PoolMessage &message) {
  Worker &worker = workers[rank];
  worker.lastGroup = worker.waitsFor = message.group;
  Group &group = groups[message.group];
  if (!group.size) {
    group.size = message.number;
    group.test = message.text;
    group.hasJoined.resize(workers.size());
    group.ends.resize(group.size);
  } else if (group.size != message.number || group.test != message.text) {
    // A worker that has left a test early is one group behind.
    group.error = format(
        "rank %d asks for a group of %d ranks in %s, others for %d in %s", rank,
        message.number, message.text, group.size, group.test.c_str());
    complain(rank, group.error);
  }
  group.hasJoined[rank] = true;
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

void PoolServer::advanceAll() {
  for (auto it = groups.begin(); it != groups.end();) {
    Group &group = it->second;
    advance(it->first, group);
    bool isDone =
        group.isStarted &&
        std::all_of(group.ends.begin(), group.ends.end(),
                    [](const PoolMessage &end) { return end.kind != 0; });
    if (isDone)
      tellRanksEnded(it->first, group);
    it = isDone ? groups.erase(it) : std::next(it);
  }
}

void PoolServer::advance(int number, Group &group) {
  bool isComplete = true;
  for (int r = 0; r < group.size && !group.isStarted && group.error.empty();
       ++r) {
    const Worker &worker = workers[r];
    if (!worker.death.empty())
      group.error = format("rank %d is gone: %s", r, worker.death.c_str());
    else if (group.hasJoined[r])
      continue;
    else if (worker.isFinished || worker.lastGroup >= number) {
      group.error = format("rank %d is not in this group", r);
      hasFailed = true;
    }
    isComplete = false;
  }
  if (!group.isStarted && group.error.empty() && isComplete)
    startGroup(number, group);
  if (group.error.empty())
    return;
  PoolMessage refused;
  refused.kind = PoolMessage::Refused;
  refused.group = number;
  refused.setText(group.error);
  for (int r = 0; r < int(workers.size()); ++r) {
    bool isMember = group.isStarted && r < group.size;
    if (workers[r].waitsFor != number || !group.hasJoined[r] || isMember)
      continue;
    workers[r].waitsFor = 0;
    tell(r, refused);
  }
}

void PoolServer::startGroup(int number, Group &group) {
  std::vector<UniqueFd> ours, theirs;
  if (!makeSocketPairs(group.size, ours, theirs)) {
    group.error = format("no socket: %s", std::strerror(errno));
    return;
  }
  servers.emplace_back(std::move(ours));
  group.isStarted = true;
  PoolMessage joined;
  joined.kind = PoolMessage::Joined;
  joined.group = number;
  for (int r = 0; r < group.size; ++r) {
    workers[r].waitsFor = 0;
    tell(r, joined, theirs[r].get());
  }
}

void PoolServer::tellRanksEnded(int number, Group &group) {
  workers[0].waitsFor = 0;
  for (int r = 0; r < group.size; ++r) {
    group.ends[r].group = number;
    group.ends[r].number = r;
    tell(0, group.ends[r]);
  }
}
