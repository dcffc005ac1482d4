//===- Supervisor.cpp - sees to it that all ranks end ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Supervisor.h"
#include "Message.h"

#include "RankRun.h"
#include "moe-runtime/Bootstrap.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sys/socket.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

/// How long the other ranks have to end by themselves after an error.
static constexpr double graceSeconds = 1;
/// How much of that is left where none of them has connected, since they then
/// end alone.
static constexpr double aloneSeconds = 0.2;
/// How long a job that the launcher ends goes on.
static constexpr double endingSeconds = 0.3;

Supervisor::Supervisor(const Options &options, const Signals &signals,
                       int numRanks)
    : options(options), signals(signals), ranks(numRanks), sockets(numRanks) {}

Supervisor::~Supervisor() {
  for (Rank &rank : ranks)
    rank.process.end();
}

/// The rank's end of a socket to the hub.
UniqueFd Supervisor::socketFor(int rank) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return UniqueFd();
  sockets[rank] = UniqueFd(pair[0]);
  return UniqueFd(pair[1]);
}

Status Supervisor::startRank(int rank, const ArtifactFile &file,
                             const std::vector<OutputFile *> &outputs) {
  UniqueFd socket = socketFor(rank);
  if (!socket.isValid())
    return makeOsError(MOERT_IO, errno, "cannot make a socket for rank %d",
                       rank);
  std::vector<int> unneeded{signals.fd(), word, listener ? listener->fd() : -1};
  for (const UniqueFd &other : sockets)
    unneeded.push_back(other.get());
  for (const Rank &other : ranks)
    unneeded.push_back(other.member.fd());
  RankSetup setup{options,
                  file,
                  rank,
                  int(ranks.size()),
                  std::move(socket),
                  outputs,
                  signals.oldMask(),
                  unneeded,
                  hosts};
  Status status = ranks[rank].process.start(std::move(setup));
  ranks[rank].isRunning = status.isOk();
  return status;
}

//===----------------------------------------------------------------------===//
// What happens to ranks
//===----------------------------------------------------------------------===//

/// "was last seen loading the artifact".
std::string Supervisor::lastSeen(int rank) const {
  const Rank &seen = ranks[rank];
  std::string text = "was last seen " + seen.phase;
  if (seen.stoppedBy)
    text += ", stopped by " + describeSignal(seen.stoppedBy);
  return text;
}

void Supervisor::noteFailure(int rank, const std::string &error) {
  ranks[rank].error = error;
  bool isAlone = hosts;
  for (const Rank &other : ranks)
    isAlone &= !other.member.isRemote();
  if (!grace)
    grace.emplace(isAlone ? aloneSeconds : graceSeconds);
  hub->fail(
      makeError(MOERT_PEER_FAILED, "rank %d failed: %s", rank, error.c_str()));
}

void Supervisor::noteDeath(int rank, const std::string &how, int signal) {
  std::string text = format("rank %d: %s while %s", rank, how.c_str(),
                            ranks[rank].phase.c_str());
  bool isByRequest = signal == SIGINT || signal == SIGTERM || signal == SIGHUP;
  if (death.empty() || (isDeathByRequest && !isByRequest)) {
    death = text;
    isDeathByRequest = isByRequest;
  }
  noteFailure(rank, text);
}

void Supervisor::handleReport(int rank, const std::string &text) {
  Message message(text);
  Rank &sender = ranks[rank];
  if (message.has("phase")) {
    sender.phase = message.text("phase");
    sender.limitSeconds = message.number("limit", 0);
  } else if (message.flag("ok")) {
    sender.isDone = true;
    sender.phase = "ending after its last step";
    sender.limitSeconds = endSeconds(options);
    if (rank == 0)
      document = message.text("document");
  } else if (message.has("error")) {
    sender.isOrigin = message.flag("origin");
    if (!errorCode)
      errorCode = message.integer("code", 0);
    noteFailure(rank, message.text("error"));
    return;
  }
  sender.limit.reset();
  if (sender.limitSeconds > 0)
    sender.limit.emplace(sender.limitSeconds);
}

void Supervisor::handleEvent(int rank, const RankEvent &event) {
  Rank &changed = ranks[rank];
  switch (event.kind) {
  case RankEvent::None:
    return;
  case RankEvent::Continued:
    changed.stoppedBy = 0;
    changed.stopLimit.reset();
    return;
  case RankEvent::Stopped:
    changed.stoppedBy = event.signal;
    changed.stopLimit.emplace(options.timeoutSeconds);
    return;
  case RankEvent::Ended:
    break;
  }
  changed.isRunning = false;
  // What moe-run has killed, stood still until then.
  if (!changed.wasKilled)
    changed.stoppedBy = 0;
  // Its last words may still be in the socket.
  hub->step(0);
  if ((event.how.empty() && changed.isDone) || changed.wasKilled ||
      !changed.error.empty())
    return;
  noteDeath(rank,
            event.how.empty() ? "ended early with exit code 0" : event.how,
            event.signal);
}

/// Whether a signal has stopped the process.
static bool isStopped(pid_t process) {
  std::ifstream file(format("/proc/%d/stat", int(process)));
  std::string text;
  std::getline(file, text);
  size_t end = text.rfind(')');
  return end != text.npos && text.compare(end, 3, ") T") == 0;
}

/// Finds ranks that have been at one thing for too long.
void Supervisor::checkLimits() {
  for (size_t r = 0; r < ranks.size(); ++r) {
    Rank &rank = ranks[r];
    if (!rank.isRunning || !rank.error.empty())
      continue;
    std::string error;
    if (rank.limit && rank.limit->isOver() && isStopped(rank.memberProcess))
      error = format("rank %zu: its moe-run process (%d) is stopped, and does "
                     "not tell what becomes of it while %s",
                     r, int(rank.memberProcess), rank.phase.c_str());
    else if (rank.limit && rank.limit->isOver() && !rank.stoppedBy)
      error = rank.isDone
                  ? format("rank %zu: did not end within %g s of its last "
                           "step; a destructor of the artifact or an exit "
                           "handler may hang",
                           r, rank.limitSeconds)
                  : format("rank %zu: has been %s for %g s; a constructor of "
                           "the artifact may hang",
                           r, rank.phase.c_str(), rank.limitSeconds);
    else if (rank.stopLimit && rank.stopLimit->isOver())
      error = format("rank %zu: has been stopped by %s for %g s while %s", r,
                     describeSignal(rank.stoppedBy).c_str(),
                     options.timeoutSeconds, rank.phase.c_str());
    if (error.empty())
      continue;
    rank.isOrigin = true;
    noteFailure(static_cast<int>(r), error);
  }
}

void Supervisor::killAll() {
  bool hasMembers = false;
  for (Rank &rank : ranks) {
    if (!rank.isRunning)
      continue;
    rank.wasKilled = true;
    rank.process.kill();
    // One that has not connected yet is not waited for.
    if (rank.isAwaited)
      rank.isRunning = false;
    if (!rank.member.isOpen())
      continue;
    hasMembers = true;
    (void)rank.member.send(killMessage);
  }
  if (hasMembers && !killGrace)
    killGrace.emplace(killSeconds);
}

//===----------------------------------------------------------------------===//
// The loop
//===----------------------------------------------------------------------===//

bool Supervisor::anyRunning() const {
  for (const Rank &rank : ranks)
    if (rank.isRunning)
      return true;
  return false;
}

/// Takes in what has come, or waits a little for it, and for `output` to have
/// room.
void Supervisor::step(int output) {
  std::vector<pollfd> others{{signals.fd(), POLLIN, 0},
                             {isLauncherGone ? -1 : launcher, POLLIN, 0},
                             {output, POLLOUT, 0}};
  for (Rank &rank : ranks)
    others.push_back({rank.member.fd(), POLLIN, 0});
  if (listener)
    listener->addTo(others);
  hub->step(50, others);
  takeMembers();
  checkArrival();
  for (size_t r = 0; r < ranks.size(); ++r) {
    handleMember(static_cast<int>(r));
    for (;;) {
      RankEvent event = ranks[r].process.poll();
      if (event.kind == RankEvent::None)
        break;
      handleEvent(static_cast<int>(r), event);
    }
  }
  if (int number = signals.next(); number && !interruptedBy)
    interruptedBy = number;
  isLauncherGone |= (others[1].revents & POLLIN) != 0;
}

int Supervisor::superviseAll(std::vector<OutputFile> &outputs,
                             int launcherHandle) {
  launcher = launcherHandle;
  hub = std::make_unique<SocketHub>(std::move(sockets));
  hub->onReport = [this](int rank, const std::string &text) {
    handleReport(rank, text);
  };
  hub->describe = [this](int rank) { return lastSeen(rank); };
  std::optional<Deadline> ending;
  while (anyRunning()) {
    step();
    checkLimits();
    if ((interruptedBy || isLauncherGone) && !ending) {
      // A launcher ends the others when one rank dies: let that be seen, too.
      // Ctrl-C at a moe-run of its own is obeyed at once.
      ending.emplace(word < 0 ? 0 : endingSeconds);
      for (Rank &rank : ranks)
        if (rank.member.isRemote())
          (void)rank.member.send(R"({"ending": true})");
    }
    if ((grace && grace->isOver()) || (ending && ending->isOver()))
      killAll();
    // A launcher kills this process about a second after its signal, and ranks
    // may take as long to end.
    if (ending && ending->isOver() && word >= 0)
      sayReason();
    if (killGrace && killGrace->isOver())
      killMembers();
  }
  if (finish(outputs))
    return conclude(0);
  if (wasInterrupted())
    return conclude(128 + interruptedBy);
  return conclude(errorCode && death.empty() ? errorCode : 1);
}
