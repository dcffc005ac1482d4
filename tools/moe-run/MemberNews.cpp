//===- MemberNews.cpp - what the other processes of a job tell
//-------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// How the process of rank 0 gets its members, and hears of their ranks.
///
//===----------------------------------------------------------------------===//

#include "Message.h"
#include "RankRun.h"
#include "Supervisor.h"
#include "moe-runtime/Bootstrap.h"

#include <csignal>
#include <sys/syscall.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

void Supervisor::delegateRank(int rank, MessageSocket member) {
  Rank &delegated = ranks[rank];
  delegated.member = Member(std::move(member));
  delegated.memberProcess = delegated.member.process();
  delegated.memberText = std::to_string(delegated.memberProcess);
  delegated.memberHandle = UniqueFd(
      static_cast<int>(syscall(SYS_pidfd_open, delegated.memberProcess, 0)));
  delegated.isRunning = true;
  UniqueFd socket = socketFor(rank);
  if (socket.isValid())
    (void)delegated.member.send(R"({"go": true})", {socket.get()});
}

void Supervisor::awaitMembers(JobListener &where) {
  listener = &where;
  // They connect when all processes have met in MPI.
  arrival.emplace(3 * options.timeoutSeconds);
  for (size_t r = 1; r < ranks.size(); ++r)
    ranks[r].isRunning = ranks[r].isAwaited = true;
}

/// Takes in members that have connected. One that comes late hears what has
/// become of the job: else it would take the end of its connection for news.
void Supervisor::takeMembers() {
  for (Rank &rank : ranks)
    rank.member.beat();
  if (!listener)
    return;
  listener->step([&](size_t number, UniqueFd socket) {
    Rank &rank = ranks[number];
    if (!rank.isAwaited)
      return;
    rank.isAwaited = false;
    rank.memberText = "one of another process";
    rank.member =
        Member(std::move(socket), jobSilenceSeconds(options.timeoutSeconds));
    if (hasSpoken)
      (void)rank.member.send(spokenMessage);
    if (rank.wasKilled)
      (void)rank.member.send(killMessage);
    if (verdict)
      (void)rank.member.send(makeMessage({{"end", *verdict}}));
  });
}

/// Misses members that have not connected in time.
void Supervisor::checkArrival() {
  if (!arrival || !arrival->isOver())
    return;
  arrival.reset();
  std::vector<int> absent;
  for (size_t r = 0; r < ranks.size(); ++r)
    if (ranks[r].isAwaited && !ranks[r].wasKilled)
      absent.push_back(static_cast<int>(r));
  if (absent.empty())
    return;
  std::string text =
      format("the moe-run of %s did not connect to that of rank 0 at %s within "
             "%g s; MOE_HOST_INTERFACE on rank 0 names the interface or "
             "address at which other hosts reach it",
             listRanks(absent).c_str(), listener->places().c_str(),
             3 * options.timeoutSeconds);
  for (int rank : absent) {
    ranks[rank].isRunning = false;
    ranks[rank].wasKilled = true;
  }
  ranks[absent.front()].isOrigin = true;
  noteFailure(absent.front(), text);
}

/// Takes what a member says, and its end, for which it has no reason before
/// the verdict.
void Supervisor::handleMember(int rank) {
  Rank &sender = ranks[rank];
  std::string text;
  std::deque<UniqueFd> fds;
  while (sender.member.isOpen()) {
    MessageSocket::Received received = sender.member.receive(text, fds);
    if (received == MessageSocket::Nothing)
      return;
    if (received == MessageSocket::Message) {
      handleMessage(rank, text);
      continue;
    }
    std::string how = "was killed";
    if (sender.member.isRemote())
      how = "was killed, or the network between the hosts is down (the "
            "connection " +
            sender.member.reason() + ")";
    sender.member.close();
    bool wasRunning = sender.isRunning;
    sender.isRunning = false;
    sender.isReady = false;
    hub->step(0);
    if (!sender.wasKilled && sender.error.empty())
      noteDeath(rank, format("its moe-run process (%s) %s%s",
                             sender.memberText.c_str(), how.c_str(),
                             wasRunning ? "" : " when all had ended,"));
  }
}

void Supervisor::handleMessage(int rank, const std::string &text) {
  Rank &sender = ranks[rank];
  Message message(text);
  if (message.has("report"))
    handleReport(rank, message.part("report"));
  else if (message.has("hello"))
    sender.memberText = message.text("hello");
  else if (message.has("ended"))
    handleEvent(rank, {RankEvent::Ended, message.integer("signal", 0),
                       message.text("ended")});
  else if (message.has("stopped"))
    handleEvent(rank, {RankEvent::Stopped, message.integer("stopped", 0), ""});
  else if (message.has("continued"))
    handleEvent(rank, {RankEvent::Continued, 0, ""});
  else if (message.has("ready"))
    sender.isReady = true;
  else if (message.has("done")) {
    sender.hasAnswered = true;
    sender.answer = message.text("done");
  } else if (message.has("orphaned") && !sender.wasKilled)
    noteDeath(rank, "the program that started its moe-run process (" +
                        sender.memberText + ") has ended");
  else if (message.has("interrupted") && !interruptedBy)
    interruptedBy = message.integer("interrupted", 0);
}

/// For members that do not hear: no rank outlives its member. Those of other
/// hosts end with the connection.
void Supervisor::killMembers() {
  for (Rank &rank : ranks)
    if (rank.member.isOpen() && rank.member.isRemote()) {
      rank.wasKilled = true;
      rank.isRunning = false;
      rank.member.close();
    } else if (rank.member.isOpen() && rank.memberHandle.isValid()) {
      rank.wasKilled = true;
      (void)syscall(SYS_pidfd_send_signal, rank.memberHandle.get(), SIGKILL,
                    nullptr, 0);
    }
}
