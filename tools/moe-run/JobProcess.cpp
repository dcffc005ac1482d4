//===- JobProcess.cpp - one process of a job of mpirun or srun ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "JobProcess.h"
#include "JobOptions.h"
#include "Message.h"

#include "RankProcess.h"
#include "RankRun.h"
#include "StandardStream.h"
#include "Word.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

/// How long a process that may be the last one of its job waits for the
/// launcher to end it before it speaks.
static constexpr double silenceSeconds = 3;
/// How much longer members wait than the host, who knows more, and may be
/// silent first.
static constexpr double slackSeconds = silenceSeconds + 1;

JobProcess::JobProcess(const LaunchedJob &job, const Options &given,
                       const Signals &signals)
    : job(job), given(given), options(given), signals(signals) {}

//===----------------------------------------------------------------------===//
// Before the meeting
//===----------------------------------------------------------------------===//

/// The size of the job, or an error.
void JobProcess::checkSize() {
  size = job.size ? job.size : given.ranks;
  if (size == 0)
    startError = {format("%s does not say how many processes the job has: "
                         "give -n, and as many",
                         job.rankVariable.c_str()),
                  2};
  else if (given.ranks && given.ranks != size)
    startError = {format("-n %d, but the %s job has %d processes", given.ranks,
                         job.launcher.c_str(), size),
                  2};
  else if (job.rank >= size)
    startError = {
        format("-n %d, but %s is %d", size, job.rankVariable.c_str(), job.rank),
        2};
  else if (int most = job.isOnSeveralHosts ? MOERT_MAX_RANKS : maxRanks;
           size > most)
    startError = {format("the %s job has %d processes; moe-run can run %d",
                         job.launcher.c_str(), size, most),
                  2};
}

void JobProcess::openFiles() {
  std::string error;
  if (!checkFile(options, size, error)) {
    startError = {error, 2};
    return;
  }
  int interruptedBy = 0;
  auto prepared = prepareArtifact(options, signals, interruptedBy);
  if (!prepared.isOk()) {
    startError = {prepared.status().message(),
                  interruptedBy ? 128 + interruptedBy : 1};
    return;
  }
  file = prepared.take();
  if (job.rank == 0)
    printDiagnostics(file.diagnostics);
  if (!checkPaths(options, size, error)) {
    startError = {error, 2};
    return;
  }
  for (const std::string &path : outputPaths(options, job.rank)) {
    auto created = OutputFile::create(path);
    if (!created.isOk()) {
      startError = {
          format("rank %d: %s", job.rank, created.status().message().c_str()),
          1};
      return;
    }
    outputs.push_back(created.take());
  }
}

void JobProcess::prepare(const StartError &given) {
  checkSize();
  if (given.exitCode)
    startError = given;
  if (!startError.exitCode)
    openFiles();
  launcher = findLauncher(job);
  place = placeOf(job, launcher);
  if (launcher > 0)
    launcherHandle =
        UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, launcher, 0)));
}

std::vector<OutputFile *> JobProcess::ownOutputs() {
  std::vector<OutputFile *> pointers;
  for (OutputFile &output : outputs)
    pointers.push_back(&output);
  return pointers;
}

int JobProcess::run() {
  if (size == 0 || job.rank >= size) {
    // There is nobody to meet.
    if (job.rank == 0)
      printError(startError.text);
    return startError.exitCode;
  }
  if (job.isOnSeveralHosts)
    return runOnHosts();
  meeting.emplace(options.timeoutSeconds);
  patience.emplace(options.timeoutSeconds + slackSeconds);
  // Before anybody can find this process at the place.
  auto made = makeWord();
  if (!made.isOk()) {
    sayWithoutHost(
        format("rank %d: %s", job.rank, made.status().message().c_str()));
    return 1;
  }
  word = made.take();
  for (;;) {
    auto found = takeOrVisitPlace(place);
    if (!found.isOk()) {
      sayWithoutHost(
          format("rank %d: %s", job.rank, found.status().message().c_str()));
      return 1;
    }
    if (found->listener.isValid())
      return host(std::move(found->listener));
    if (found->connection.isOpen()) {
      std::optional<int> exitCode = visit(std::move(found->connection));
      if (exitCode)
        return *exitCode;
    }
    if (int number = signals.waitForNext(10))
      return endBySignal(number);
    if (patience->isOver()) {
      sayWithoutHost(format("rank %d: could not meet the other processes of "
                            "the job within %g s",
                            job.rank, options.timeoutSeconds));
      return 1;
    }
  }
}

/// A process that was stopped, or has lost a host without its right to speak,
/// may be the last one of a job that has said what went wrong. Then its
/// launcher is about to end it. `wait` is the one that has ended.
bool JobProcess::hasToBeSilent(Deadline &wait) {
  if (!hasLostWord && !wait.hasBeenStopped())
    return false;
  for (Deadline waiting(silenceSeconds); !waiting.isOver();)
    if (signals.waitForNext(waiting.sliceMs()))
      return true;
  return false;
}

/// Says something unless another process of the job has said what is wrong.
void JobProcess::say(const std::string &message) {
  if (!word.isValid() || takeWord(word.get()))
    printError(message);
}

void JobProcess::sayWithoutHost(const std::string &message) {
  if (!hasToBeSilent(*patience))
    sayOnce(message);
}

/// Says something that others may be about to say, too, with whom this process
/// shares no right to speak. Only one of them gets the place for it, and keeps
/// it long enough.
void JobProcess::sayOnce(const std::string &message) {
  auto turn = takeOrVisitPlace(place + "/word");
  if (turn.isOk() && !turn->listener.isValid())
    return;
  say(message);
  std::this_thread::sleep_for(std::chrono::seconds(1));
}

//===----------------------------------------------------------------------===//
// Members
//===----------------------------------------------------------------------===//

bool JobProcess::introduce(MessageSocket &host) {
  for (const OutputFile &output : outputs) {
    Json json = {{"output", output.path()},
                 {"temporary", output.temporaryName()}};
    if (!host.send(makeMessage(json), {output.folder(), output.fd()}))
      return false;
  }
  Json json = {{"rank", job.rank},
               {"error", startError.text},
               {"code", startError.exitCode},
               {"options", describeOptions(options, file, size)}};
  return host.send(makeShortMessage(json));
}

/// "the moe-run that keeps the job together (rank 0)".
std::string JobProcess::hostText() const {
  std::string text = "the moe-run that keeps the job together";
  return hostRank < 0 ? text : text + format(" (rank %d)", hostRank);
}

/// Ends without the host, and says why if nobody else does.
int JobProcess::leave(int exitCode, const char *message) {
  say(format("rank %d: %s %s", job.rank, hostText().c_str(), message));
  return exitCode;
}

/// A launcher ends a job when a process has been killed. If that was the host,
/// maybe nobody else has met it.
int JobProcess::endBySignal(int number) {
  if (hasLostHost && !hasLostWord)
    sayWithoutHost(
        format("rank %d: %s was killed", job.rank, hostText().c_str()));
  return 128 + number;
}

std::optional<int> JobProcess::visit(MessageSocket host) {
  hostRank = -1;
  // The host may be stopped before it welcomes this process, or die, when it
  // has welcomed others, who say so.
  UniqueFd shared = openWordOf(host.peerProcess());
  if (!introduce(host)) {
    hasLostWord = true;
    return std::nullopt;
  }
  // The host's wait for all to come has begun before, but this process may
  // have waited for a host that has died.
  patience.emplace(options.timeoutSeconds + slackSeconds);
  // The host lived until now, so what was opened belongs to it. It is kept
  // when the host dies: whoever has spoken before has spoken for the job.
  bool sharesWord = shared.isValid();
  if (sharesWord)
    word = std::move(shared);
  int interruptedBy = 0;
  std::optional<Deadline> leaving;
  while (!patience->isOver()) {
    // This process may become the host. It must not take the time that it has
    // been here for time in which it was stopped.
    (void)meeting->isOver();
    std::vector<pollfd> entries{{host.fd(), POLLIN, 0},
                                {signals.fd(), POLLIN, 0}};
    (void)poll(entries.data(), entries.size(), patience->sliceMs());
    std::string text;
    std::deque<UniqueFd> fds;
    switch (host.receive(text, fds)) {
    case MessageSocket::Closed:
      if (hostRank >= 0)
        return leave(1, "was killed");
      hasLostWord |= !sharesWord;
      hasLostHost = true;
      if (interruptedBy)
        return endBySignal(interruptedBy);
      return std::nullopt;
    case MessageSocket::Nothing:
      break;
    case MessageSocket::Message: {
      Message message(text);
      if (message.has("end"))
        return message.integer("end", 1);
      if (message.has("go") && fds.size() == 1)
        return keepRank(host, std::move(fds[0]));
      if (message.has("welcome") && fds.size() == 1) {
        hostRank = message.integer("welcome", -1);
        word = std::move(fds[0]);
        sharesWord = true;
      }
      break;
    }
    }
    // The host hears of it as well, and has the word.
    if (int number = signals.next(); number && !interruptedBy) {
      interruptedBy = number;
      leaving.emplace(1);
    }
    if (leaving && leaving->isOver())
      return 128 + interruptedBy;
  }
  const char *message = "does not answer; it may have been stopped";
  if (sharesWord)
    return leave(1, message);
  sayWithoutHost(
      format("rank %d: %s %s", job.rank, hostText().c_str(), message));
  return 1;
}

/// Runs the rank as a child, until the host gives out the verdict.
int JobProcess::keepRank(MessageSocket &host, UniqueFd socket) {
  RankProcess process;
  RankSetup setup{options,           file,
                  job.rank,          size,
                  std::move(socket), ownOutputs(),
                  signals.oldMask(), {host.fd(), word.get()}};
  if (Status s = process.start(std::move(setup)); !s.isOk()) {
    (void)host.send(
        makeShortMessage(Json{{"ended", s.message()}, {"signal", 0}}));
  }
  int interruptedBy = 0;
  std::optional<Deadline> interrupted, verdict;
  for (;;) {
    std::vector<pollfd> entries{{host.fd(), POLLIN, 0},
                                {signals.fd(), POLLIN, 0}};
    (void)poll(entries.data(), entries.size(), 50);
    std::string text;
    std::deque<UniqueFd> fds;
    MessageSocket::Received received;
    while ((received = host.receive(text, fds)) == MessageSocket::Message) {
      Message message(text);
      if (message.has("end")) {
        process.end();
        return message.integer("end", 1);
      }
      if (message.has("kill"))
        process.kill();
      else if (message.has("prepare"))
        (void)host.send(R"({"ready": true})");
      else if (message.has("printing") && verdict)
        // It lives, and somebody may yet read its report.
        verdict.emplace(2 * endSeconds(options) + 10);
    }
    if (received == MessageSocket::Closed) {
      process.end();
      return leave(interruptedBy ? 128 + interruptedBy : 1, "was killed");
    }
    for (;;) {
      RankEvent event = process.poll();
      if (event.kind == RankEvent::None)
        break;
      (void)host.send(makeShortMessage(toMessage(event)));
      if (event.kind == RankEvent::Ended)
        verdict.emplace(2 * endSeconds(options) + 10);
    }
    if (int number = signals.next(); number && !interruptedBy) {
      interruptedBy = number;
      interrupted.emplace(1);
      (void)host.send(makeShortMessage(Json{{"interrupted", number}}));
    }
    if (interrupted && interrupted->isOver()) {
      process.end();
      return 128 + interruptedBy;
    }
    if (verdict && verdict->isOver())
      return leave(1, "does not answer; it may have been stopped");
  }
}
