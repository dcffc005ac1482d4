//===- HostsMember.cpp - the moe-run of a rank, away from rank 0 ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostsMember.h"

#include "Message.h"
#include "RankRun.h"

#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

/// How long others have to say what has ended the job, before this process
/// does.
static constexpr double endingSeconds = 1;

void HostsMember::tell(const Json &json) {
  std::string message = makeShortMessage(json);
  if (hasHost)
    (void)host.send(message);
  else
    unsent.push_back(message);
}

/// Ends without a verdict.
void HostsMember::leave(int code, const std::string &message) {
  if (exitCode)
    return;
  exitCode = code;
  words = message;
}

//===----------------------------------------------------------------------===//
// The rank
//===----------------------------------------------------------------------===//

void HostsMember::handleReport(const std::string &text) {
  Message message(text);
  if (message.has("invitation")) {
    beginVisit(message.text("invitation"));
    return;
  }
  if (message.has("phase")) {
    phase = message.text("phase");
    phaseLimit.reset();
    if (double limit = message.number("limit", 0); limit > 0)
      phaseLimit.emplace(limit);
  } else if (message.has("error") && error.empty()) {
    error = message.text("error");
    errorCode = message.integer("code", 0);
  }
  tell({{"report", Json::parse(text, nullptr, /*allow_exceptions=*/false)}});
}

void HostsMember::handleEvents() {
  for (;;) {
    RankEvent event = process.poll();
    if (event.kind == RankEvent::None)
      return;
    if (event.kind != RankEvent::Ended) {
      tell(toMessage(event));
      continue;
    }
    // Its last words may still be in the socket.
    hub->step(0);
    phaseLimit.reset();
    verdictLimit.emplace(2 * endSeconds(options) + 10);
    tell(toMessage(event));
    if (error.empty() && !event.how.empty())
      error = format("rank %d: %s while %s", rank, event.how.c_str(),
                     phase.c_str());
    // Nobody can be told.
    if (!hasHost && !visit)
      leave(errorCode ? errorCode : 1,
            error.empty() ? format("rank %d: ended early", rank) : error);
  }
}

/// Without a host, who sees to that otherwise.
void HostsMember::checkLimits() {
  if (hasHost)
    return;
  if (phaseLimit && phaseLimit->isOver())
    leave(1, format("rank %d: has been %s for more than %g s; a process of the "
                    "job may have died, or be stopped",
                    rank, phase.c_str(), 2 * options.timeoutSeconds));
  if (visit && connectLimit->isOver())
    leave(1, format("rank %d: moe-run %s", rank, visit->error().c_str()));
}

//===----------------------------------------------------------------------===//
// The moe-run of rank 0
//===----------------------------------------------------------------------===//

void HostsMember::beginVisit(const std::string &invitation) {
  // Without one rank 0 says why.
  if (invitation.empty() || hasHost || visit)
    return;
  auto begun = JobVisit::create(invitation, rank, options.timeoutSeconds);
  if (!begun.isOk())
    return leave(1,
                 format("rank %d: %s", rank, begun.status().message().c_str()));
  visit = begun.take();
  connectLimit.emplace(options.timeoutSeconds);
}

void HostsMember::connect() {
  if (!visit || exitCode)
    return;
  UniqueFd socket = visit->step();
  if (!socket.isValid())
    return;
  visit.reset();
  hasHost = true;
  host = Member(std::move(socket), jobSilenceSeconds(options.timeoutSeconds));
  (void)host.send(makeMessage(
      Json{{"hello", format("%d on %s", int(getpid()), hostName().c_str())}}));
  for (const std::string &message : unsent)
    (void)host.send(message);
  unsent.clear();
}

/// Gives the outputs their names, in a way that can be undone.
void HostsMember::answerExpose() {
  Status status = isExposed ? Status::ok() : expose(outputs);
  isExposed = status.isOk();
  tell({{"done", status.message()}});
}

void HostsMember::handleMessages() {
  host.beat();
  std::string text;
  std::deque<UniqueFd> fds;
  while (hasHost && !exitCode) {
    MessageSocket::Received received = host.receive(text, fds);
    if (received == MessageSocket::Nothing)
      return;
    if (received == MessageSocket::Closed) {
      std::string lost =
          format("rank %d: lost the moe-run that keeps the job together (rank "
                 "0): the connection %s; it was killed, or the network between "
                 "the hosts is down",
                 rank, host.reason().c_str());
      if (isOrphaned)
        lost = format("rank %d: the program that started the processes of this "
                      "job has ended",
                      rank);
      if (!error.empty())
        lost = error + "; " + lost;
      // A launcher that was told to end the job kills the moe-run of rank 0,
      // too; whoever has told it knows.
      bool isKnown = hasSpoken || isEnding || interruptedBy;
      leave(interruptedBy ? 128 + interruptedBy : 1, isKnown ? "" : lost);
      return;
    }
    Message message(text);
    if (message.has("end")) {
      exitCode = message.integer("end", 1);
      if (*exitCode == 0) {
        settle(outputs);
        isExposed = false;
      }
    } else if (message.has("kill")) {
      process.kill();
    } else if (message.has("spoken")) {
      hasSpoken = true;
    } else if (message.has("ending")) {
      isEnding = true;
    } else if (message.has("prepare")) {
      tell({{"ready", true}});
    } else if (message.has("printing") && verdictLimit) {
      // It lives, and somebody may yet read its report.
      verdictLimit.emplace(2 * endSeconds(options) + 10);
    } else if (message.has("expose")) {
      answerExpose();
    } else if (message.has("conceal") && isExposed) {
      isExposed = false;
      if (Status s = conceal(outputs); !s.isOk())
        words = format("rank %d: %s", rank, s.message().c_str());
    }
  }
}

//===----------------------------------------------------------------------===//
// The loop
//===----------------------------------------------------------------------===//

int HostsMember::run(RankSetup setup) {
  rank = setup.rank;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    leave(1,
          makeOsError(MOERT_IO, errno, "cannot make a socket for rank %d", rank)
              .message());
    return 1;
  }
  std::vector<UniqueFd> sockets;
  sockets.emplace_back(pair[0]);
  setup.socket = UniqueFd(pair[1]);
  setup.unneeded = {signals.fd(), pair[0]};
  if (Status s = process.start(std::move(setup)); !s.isOk()) {
    leave(1, s.message());
    return 1;
  }
  hub = std::make_unique<SocketHub>(std::move(sockets));
  hub->onReport = [this](int, const std::string &text) { handleReport(text); };
  while (!exitCode) {
    std::vector<pollfd> others{{signals.fd(), POLLIN, 0},
                               {isOrphaned ? -1 : launcher, POLLIN, 0},
                               {host.fd(), POLLIN, 0}};
    if (visit)
      visit->addTo(others);
    hub->step(50, others);
    connect();
    handleEvents();
    handleMessages();
    checkLimits();
    if (int number = signals.next(); number && !interruptedBy) {
      interruptedBy = number;
      tell({{"interrupted", number}});
      ending.emplace(endingSeconds);
    }
    if (!isOrphaned && (others[1].revents & POLLIN)) {
      isOrphaned = true;
      tell({{"orphaned", true}});
      ending.emplace(endingSeconds);
    }
    // Whoever has sent the signal, or has seen the launcher end, says why.
    if (ending && ending->isOver())
      leave(interruptedBy ? 128 + interruptedBy : 1,
            interruptedBy || hasHost || hasSpoken
                ? ""
                : format("rank %d: the program that started the processes of "
                         "this job has ended",
                         rank));
    if (verdictLimit && verdictLimit->isOver())
      leave(1, format("rank %d: the moe-run that keeps the job together (rank "
                      "0) does not answer; it may have been stopped",
                      rank));
  }
  process.end();
  if (isExposed) {
    // Without a verdict, the job was no good one.
    if (Status s = conceal(outputs); !s.isOk())
      words += (words.empty() ? "" : "; ") + s.message();
  }
  return *exitCode;
}
