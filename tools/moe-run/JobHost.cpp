//===- JobHost.cpp - the process that keeps a job together ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "JobOptions.h"
#include "JobProcess.h"
#include "Message.h"
#include "Supervisor.h"
#include "Word.h"
#include "moe-runtime/Bootstrap.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <map>
#include <poll.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

/// How long others have to come when this process already knows an error, so
/// that they end with it and do not report it again.
static constexpr double errorSeconds = 2;

struct JobProcess::Visitor {
  MessageSocket socket;
  int rank = -1; ///< -1 before it has introduced itself
  StartError error;
  std::string options; ///< as describeOptions() has them
  std::vector<OutputFile> outputs;
};

/// Takes in what has come. A visitor that leaves before the run may come
/// again.
void JobProcess::receiveVisitors(int listener, std::vector<Visitor> &visitors) {
  for (int i = 0; i < 2 * maxRanks; ++i) {
    MessageSocket socket = acceptVisitor(listener);
    if (!socket.isOpen())
      break;
    visitors.emplace_back();
    visitors.back().socket = std::move(socket);
  }
  for (Visitor &visitor : visitors) {
    std::string text;
    std::deque<UniqueFd> fds;
    MessageSocket::Received received;
    while ((received = visitor.socket.receive(text, fds)) ==
           MessageSocket::Message) {
      Message message(text);
      if (message.has("output") && fds.size() == 2) {
        visitor.outputs.emplace_back(message.text("output"),
                                     message.text("temporary"),
                                     std::move(fds[0]), std::move(fds[1]));
        fds.clear();
      } else if (message.has("rank")) {
        visitor.rank = std::max(-1, message.integer("rank", -1));
        visitor.error = {message.text("error"), message.integer("code", 0)};
        visitor.options = message.part("options");
        (void)visitor.socket.send(format("{\"welcome\": %d}", job.rank),
                                  {word.get()});
      }
    }
    if (received == MessageSocket::Closed)
      visitor.socket.close();
  }
  std::vector<Visitor> staying;
  for (Visitor &visitor : visitors)
    if (visitor.socket.isOpen())
      staying.push_back(std::move(visitor));
  visitors = std::move(staying);
}

/// Names the ranks that have not come, and says what `reason` says.
StartError JobProcess::missing(const std::vector<Visitor> &visitors,
                               const char *reason) const {
  std::vector<bool> isHere(size);
  isHere[job.rank] = true;
  for (const Visitor &visitor : visitors)
    if (visitor.rank >= 0)
      isHere[visitor.rank] = true;
  std::vector<int> absent;
  for (int r = 0; r < size; ++r)
    if (!isHere[r])
      absent.push_back(r);
  std::string starter =
      launcher > 0 ? format(", started by process %d", int(launcher)) : "";
  return {format("rank %d: %s %s; each of the %d processes of the %s job "
                 "(%s) has to run moe-run on this host, %s%s",
                 job.rank, listRanks(absent).c_str(), reason, size,
                 job.launcher.c_str(), job.rankVariable.c_str(),
                 hostName().c_str(), starter.c_str()),
          1};
}

/// How the options of a rank differ from those of the lowest that is here; of
/// several such ranks, the lowest.
std::string JobProcess::findDifference(const std::vector<Visitor> &visitors,
                                       const std::string &ownOptions) const {
  std::map<int, const std::string *> byRank{{job.rank, &ownOptions}};
  for (const Visitor &visitor : visitors)
    if (visitor.rank >= 0)
      byRank.emplace(visitor.rank, &visitor.options);
  auto first = byRank.begin();
  for (const auto &[rank, options] : byRank) {
    std::string differs =
        compareOptions(rank, *options, first->first, *first->second);
    if (!differs.empty())
      return differs;
  }
  return "";
}

/// Waits until all ranks have introduced themselves; else says why not.
StartError JobProcess::awaitVisitors(int listener,
                                     std::vector<Visitor> &visitors) {
  std::optional<Deadline> leaving;
  std::string ownOptions = makeMessage(describeOptions(options, file, size));
  int compared = 1; // ranks
  StartError difference;
  for (;;) {
    receiveVisitors(listener, visitors);
    StartError error = startError;
    int lowest = error.exitCode ? job.rank : INT_MAX;
    int numRanks = 1;
    std::vector<bool> isHere(size);
    isHere[job.rank] = true;
    for (Visitor &visitor : visitors) {
      if (visitor.rank < 0)
        continue;
      bool isRank = visitor.rank < size;
      // The processes would never be complete.
      std::string differs;
      if (!isRank)
        differs =
            compareOptions(visitor.rank, visitor.options, job.rank, ownOptions);
      if (!differs.empty())
        return {differs, 2};
      if (!isRank || isHere[visitor.rank])
        return {format("rank %d: a second process says that it is rank %d of "
                       "the %d of this job (%s)",
                       job.rank, visitor.rank, size, job.rankVariable.c_str()),
                1};
      isHere[visitor.rank] = true;
      ++numRanks;
      if (visitor.error.exitCode && visitor.rank < lowest) {
        lowest = visitor.rank;
        error = visitor.error;
      }
    }
    // Whoever has an error may not have read all of its options.
    if (!error.exitCode && numRanks > compared) {
      compared = numRanks;
      std::string differs = findDifference(visitors, ownOptions);
      if (!differs.empty())
        difference = {differs, 2};
    }
    if (!error.exitCode)
      error = difference;
    if (error.exitCode && !leaving)
      leaving.emplace(errorSeconds);
    // What is known says more than who is missing.
    if (numRanks == size || (leaving && leaving->isOver()) ||
        (error.exitCode && meeting->isOver()))
      return error;
    if (meeting->isOver())
      return missing(
          visitors,
          format("did not come within %g s", options.timeoutSeconds).c_str());
    std::vector<pollfd> entries{{signals.fd(), POLLIN, 0},
                                {launcherHandle.get(), POLLIN, 0},
                                {listener, POLLIN, 0}};
    for (Visitor &visitor : visitors)
      entries.push_back({visitor.socket.fd(), POLLIN, 0});
    (void)poll(entries.data(), entries.size(), meeting->sliceMs());
    if (int number = signals.next()) {
      // A busy machine may hand out the signal before what came earlier.
      receiveVisitors(listener, visitors);
      error = missing(visitors, ("had not come when " + describeSignal(number) +
                                 " ended the job")
                                    .c_str());
      error.exitCode = 128 + number;
      return error;
    }
    if (entries[1].revents & POLLIN)
      return missing(visitors, "had not come when the launcher ended");
  }
}

int JobProcess::host(UniqueFd listener) {
  std::vector<Visitor> visitors;
  StartError error = awaitVisitors(listener.get(), visitors);
  if (error.exitCode == 0) {
    listener.reset();
    return superviseJob(visitors);
  }
  // A host that has died may have welcomed somebody, who has spoken and does
  // not come again. Nobody has if all others are here.
  auto isRank = [](const Visitor &visitor) { return visitor.rank >= 0; };
  if (std::count_if(visitors.begin(), visitors.end(), isRank) == size - 2)
    hasLostWord = false;
  if (!error.text.empty() && !hasToBeSilent(*meeting)) {
    if (error.exitCode > 128)
      // Those that have not come got the signal, too.
      sayOnce(error.text);
    else
      say(error.text);
  }
  for (Visitor &visitor : visitors)
    (void)visitor.socket.send(format("{\"end\": %d}", error.exitCode));
  return error.exitCode;
}

int JobProcess::superviseJob(std::vector<Visitor> &visitors) {
  Supervisor supervisor(options, signals, size);
  supervisor.word = word.get();
  std::vector<OutputFile> all;
  for (Visitor &visitor : visitors)
    for (OutputFile &output : visitor.outputs)
      all.push_back(std::move(output));
  std::vector<OutputFile *> mine = ownOutputs();
  // The child first: it must not hold the sockets of the others.
  Status status;
  for (int r = 0; r < size && status.isOk(); ++r) {
    if (r == job.rank)
      status = supervisor.startRank(r, file, mine);
    for (Visitor &visitor : visitors)
      if (visitor.rank == r)
        supervisor.delegateRank(r, std::move(visitor.socket));
  }
  if (!status.isOk()) {
    say(status.message());
    return 1;
  }
  for (OutputFile &output : outputs)
    all.push_back(std::move(output));
  return supervisor.superviseAll(all, launcherHandle.get());
}
