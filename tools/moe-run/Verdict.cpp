//===- Verdict.cpp - how a run has ended ----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Message.h"
#include "RankRun.h"
#include "StandardStream.h"
#include "Supervisor.h"
#include "Word.h"
#include "moe-runtime/Bootstrap.h"

#include <map>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

/// How often members are told that this process still prints.
static constexpr double printingSeconds = 1;
static const char launcherIsGone[] =
    "the program that started the processes of this job has ended";

/// Whether the run was ended by a signal to moe-run. A launcher also sends one
/// when some process of the job has died, which then is the reason.
bool Supervisor::wasInterrupted() const {
  return interruptedBy && (word < 0 || death.empty() || isDeathByRequest);
}

/// Says once for the whole run what went wrong, if this process has the right
/// to: how a rank died, or the error of the rank that had it first.
void Supervisor::say(const std::string &message) {
  if (word >= 0 && !takeWord(word))
    return;
  // A launcher may kill this process before it can tell how the job has ended.
  hasSpoken = true;
  for (Rank &rank : ranks)
    if (rank.member.isRemote())
      (void)rank.member.send(spokenMessage);
  if (speak)
    speak(message);
  else
    printError(message);
}

/// All members wait for the verdict: none of them can turn a good end into a
/// bad one any more.
Status Supervisor::gatherMembers() {
  for (Rank &rank : ranks)
    if (rank.member.isOpen())
      (void)rank.member.send(R"({"prepare": true})");
  Deadline deadline(endSeconds(options));
  for (;;) {
    std::vector<int> missing;
    for (size_t r = 0; r < ranks.size(); ++r)
      if (ranks[r].member.isOpen() && !ranks[r].isReady)
        missing.push_back(static_cast<int>(r));
    if (missing.empty() || !death.empty() || interruptedBy || isLauncherGone)
      return Status::ok();
    if (deadline.isOver())
      return makeError(MOERT_TIMEOUT,
                       "%s: moe-run's process did not answer within %g s of "
                       "the last step; it may have been stopped",
                       listRanks(missing).c_str(), endSeconds(options));
    step();
  }
}

/// Asks the members on other hosts, and waits for the answers of all.
Status Supervisor::askRemoteMembers(const std::string &request,
                                    const char *what) {
  for (Rank &rank : ranks)
    if (rank.member.isRemote()) {
      rank.hasAnswered = false;
      (void)rank.member.send(request);
    }
  for (Deadline deadline(endSeconds(options));;) {
    std::vector<int> missing;
    for (size_t r = 0; r < ranks.size(); ++r) {
      if (!ranks[r].member.isRemote())
        continue;
      if (ranks[r].hasAnswered && !ranks[r].answer.empty())
        return makeError(MOERT_IO, "rank %zu: %s", r, ranks[r].answer.c_str());
      if (!ranks[r].hasAnswered)
        missing.push_back(static_cast<int>(r));
    }
    if (missing.empty())
      return Status::ok();
    if (!death.empty())
      return Status(MOERT_PEER_FAILED, death);
    if (isLauncherGone)
      return Status(MOERT_PEER_FAILED, launcherIsGone);
    if (deadline.isOver())
      return makeError(MOERT_TIMEOUT,
                       "%s: moe-run's process did not %s within %g s of the "
                       "last step; it may have been stopped",
                       listRanks(missing).c_str(), what, endSeconds(options));
    step();
  }
}

/// Prints the report for as long as that takes. Standard output may be a pipe
/// that nobody reads: signals, and the ends of members, are heard of meanwhile.
Status Supervisor::printDocument() {
  StandardStream stream(STDOUT_FILENO);
  std::string_view rest = document;
  for (Deadline next(0);;) {
    Status status = stream.write(rest);
    if (!status.isOk() || rest.empty())
      return status;
    if (next.isOver()) {
      // They do not wait for the verdict without a bound.
      for (Rank &rank : ranks)
        if (rank.member.isOpen())
          (void)rank.member.send(R"({"printing": true})");
      next = Deadline(printingSeconds);
    }
    step(stream.fd());
    if (wasInterrupted())
      return Status(MOERT_IO,
                    "interrupted by " + describeSignal(interruptedBy));
    if (!death.empty())
      return Status(MOERT_PEER_FAILED, death);
    if (isLauncherGone)
      return Status(MOERT_PEER_FAILED, launcherIsGone);
  }
}

/// Gives all outputs their names and prints the report, on all hosts or on
/// none: what was under the names before is kept until all that can fail is
/// done. The members of other hosts keep theirs until they hear the verdict.
Status Supervisor::publishAll(std::vector<OutputFile> &outputs) {
  Status status;
  if (hosts)
    status = askRemoteMembers(R"({"expose": true})", "name its outputs");
  if (status.isOk()) {
    status = expose(outputs);
    if (status.isOk() && !document.empty()) {
      status = printDocument();
      Status undone = status.isOk() ? status : conceal(outputs);
      if (!undone.isOk())
        status =
            Status(status.code(), status.message() + "; " + undone.message());
    }
  }
  if (status.isOk())
    settle(outputs);
  else
    for (Rank &rank : ranks)
      if (rank.member.isRemote())
        (void)rank.member.send(R"({"conceal": true})");
  return status;
}

/// The first rank with an error, or one that does not only pass it on.
const Supervisor::Rank *Supervisor::findFailed() const {
  const Rank *first = nullptr;
  for (const Rank &rank : ranks)
    if (!rank.error.empty() && (!first || (rank.isOrigin && !first->isOrigin)))
      first = &rank;
  return first;
}

/// "; rank 3 has been stopped by signal 19 (Stopped (signal))" for the ranks
/// that stand still and of which `said` does not say so. Others have waited for
/// them in vain, though they may name the one that came next.
std::string Supervisor::stoppedRanks(const std::string &said) const {
  std::map<int, std::vector<int>> bySignal;
  for (size_t r = 0; r < ranks.size(); ++r) {
    int number = static_cast<int>(r);
    std::string own = format("rank %d: has been stopped by ", number),
                seen = format("rank %d ", number) + lastSeen(number);
    if (ranks[r].stoppedBy && said.find(own) == said.npos &&
        said.find(seen) == said.npos)
      bySignal[ranks[r].stoppedBy].push_back(number);
  }
  std::string text;
  for (const auto &[signal, stopped] : bySignal)
    text += format("; %s %s been stopped by %s", listRanks(stopped).c_str(),
                   stopped.size() == 1 ? "has" : "have",
                   describeSignal(signal).c_str());
  return text;
}

/// Says why the run was no good one.
void Supervisor::sayReason() {
  const Rank *failed = findFailed();
  if (wasInterrupted()) {
    say("interrupted by " + describeSignal(interruptedBy));
  } else if (!death.empty()) {
    // Another rank may have seen where it was.
    bool isSeen = failed && failed->isOrigin;
    std::string text = death + (isSeen ? "; " + failed->error : "");
    say(text + stoppedRanks(text));
  } else if (isLauncherGone) {
    say(launcherIsGone);
  } else {
    std::string text = failed ? failed->error : "a rank ended without a report";
    say(text + stoppedRanks(text));
  }
}

/// Whether the run was a good one.
bool Supervisor::finish(std::vector<OutputFile> &outputs) {
  auto isGood = [&] {
    bool isGood = !interruptedBy && !isLauncherGone && !findFailed();
    for (const Rank &rank : ranks)
      isGood &= rank.isDone;
    return isGood;
  };
  if (isGood()) {
    Status status = gatherMembers();
    if (status.isOk() && isGood()) {
      status = publishAll(outputs);
      if (status.isOk())
        return true;
    }
    if (!status.isOk()) {
      say(status.message());
      return false;
    }
  }
  sayReason();
  return false;
}

/// Whether some are there, or about to be.
bool Supervisor::hasMembers() const {
  bool isAnyAwaited = false;
  for (const Rank &rank : ranks) {
    if (rank.member.isOpen())
      return true;
    isAnyAwaited |= rank.isAwaited;
  }
  return isAnyAwaited && listener->isAwaited();
}

/// Lets them end, and takes in those that come meanwhile.
void Supervisor::waitForMembers(Deadline deadline) {
  for (takeMembers(); hasMembers() && !deadline.isOver(); takeMembers()) {
    std::vector<pollfd> entries;
    for (Rank &rank : ranks)
      entries.push_back({rank.member.fd(), POLLIN, 0});
    if (listener)
      listener->addTo(entries);
    (void)poll(entries.data(), entries.size(), deadline.sliceMs());
    for (Rank &rank : ranks) {
      std::string text;
      std::deque<UniqueFd> fds;
      auto received = MessageSocket::Message;
      while (rank.member.isOpen() && received == MessageSocket::Message)
        received = rank.member.receive(text, fds);
      if (received == MessageSocket::Closed)
        rank.member.close();
    }
  }
}

/// Gives the members the verdict and lets them end.
int Supervisor::conclude(int exitCode) {
  verdict = exitCode;
  for (Rank &rank : ranks)
    if (rank.member.isOpen())
      (void)rank.member.send(makeMessage({{"end", exitCode}}));
  waitForMembers(Deadline(exitCode == 0 ? endSeconds(options) : killSeconds));
  if (hasMembers() && exitCode == 0) {
    say("moe-run's process of a rank did not end after the run, which was "
        "good; the outputs are written");
    exitCode = 1;
  }
  killMembers();
  return exitCode;
}
