//===- RankProcess.cpp - a rank as a child of this process ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankProcess.h"
#include "JobOptions.h"
#include "Message.h"

#include "RankRun.h"
#include "moe-runtime/Mpi.h"
#include "moe-runtime/SocketHub.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <new>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

Json moe::run::toMessage(const RankEvent &event) {
  if (event.kind == RankEvent::Stopped)
    return {{"stopped", event.signal}};
  if (event.kind == RankEvent::Continued)
    return {{"continued", true}};
  return {{"ended", event.how}, {"signal", event.signal}};
}

std::string moe::run::describeSignal(int number) {
  return format("signal %d (%s)", number, strsignal(number));
}

namespace {
/// Sends a message to the process that started this one.
using Send = std::function<void(const Json &json, double seconds)>;
} // namespace

/// Meets the ranks of all hosts, before anything is done that one of them may
/// be unable to do.
static Outcome meetHosts(const RankSetup &setup, const RankObserver &observer,
                         const Send &send,
                         std::unique_ptr<Bootstrap> &bootstrap) {
  const HostsSetup &hosts = *setup.hosts;
  double seconds = setup.options.timeoutSeconds;
  // What this process knows goes before what MPI may lack.
  auto failed = [&](const Status &status) {
    bool isKnown = hosts.startError.exitCode != 0;
    return Outcome{isKnown
                       ? Status(MOERT_INVALID_ARGUMENT, hosts.startError.text)
                       : status,
                   true, hosts.startError.exitCode};
  };
  observer.onPhase("waiting for the other processes in MPI_Init", 2 * seconds);
  auto made = createMpiJobBootstrap(hosts.job, seconds);
  if (!made.isOk())
    return failed(made.status());
  observer.onPhase("joining the ranks of other hosts", 0);
  auto invitations = allGatherText(**made, hosts.invitation);
  if (!invitations.isOk())
    return failed(
        invitations.status().withPrefix(format("rank %d", setup.rank)));
  send({{"invitation", invitations->front()}}, seconds);
  Json mine = {
      {"error", hosts.startError.text},
      {"code", hosts.startError.exitCode},
      {"options", describeOptions(setup.options, setup.file, setup.size)}};
  auto errors = allGatherText(**made, makeMessage(mine));
  if (!errors.isOk())
    return failed(errors.status().withPrefix(format("rank %d", setup.rank)));
  for (int r = 0; r < setup.size; ++r) {
    Message message((*errors)[r]);
    if (int code = message.integer("code", 0))
      return {Status(MOERT_INVALID_ARGUMENT, message.text("error")),
              r == setup.rank, code};
  }
  std::string first = Message(errors->front()).part("options");
  for (int r = 1; r < setup.size; ++r) {
    std::string differs =
        compareOptions(r, Message((*errors)[r]).part("options"), 0, first);
    if (!differs.empty())
      return {Status(MOERT_INVALID_ARGUMENT, differs), r == setup.rank, 2};
  }
  bootstrap = made.take();
  return {};
}

/// What the child does, with an exit code for its end.
static int runChild(RankSetup &setup) {
  // For ps and top.
  prctl(PR_SET_NAME, format("moe-rank-%d", setup.rank).c_str());
  int report = dup(setup.socket.get());
  Send send = [report](const Json &json, double seconds) {
    sendReport(report, makeMessage(json), seconds);
  };
  RankObserver observer;
  observer.onPhase = [&](const std::string &phase, double limitSeconds) {
    send({{"phase", phase}, {"limit", limitSeconds}}, 1);
  };
  observer.onFailure = [&](const Outcome &outcome) {
    send({{"origin", outcome.isOrigin},
          {"error", outcome.status.message()},
          {"code", outcome.exitCode}},
         1);
  };
  observer.onSuccess = [&](const std::string &document) {
    send({{"ok", true}, {"document", document}}, setup.options.timeoutSeconds);
  };
  Outcome outcome;
  try {
    std::unique_ptr<Bootstrap> bootstrap;
    if (setup.hosts)
      outcome = meetHosts(setup, observer, send, bootstrap);
    else
      bootstrap = createSocketBootstrap(std::move(setup.socket), setup.rank,
                                        setup.size);
    if (outcome.status.isOk())
      outcome = runRank(setup.options, setup.file, std::move(bootstrap),
                        setup.outputs, observer);
    else
      observer.onFailure(outcome);
  } catch (const std::exception &error) {
    // It must not get to what belongs to moe-run's own process.
    bool isMemory = dynamic_cast<const std::bad_alloc *>(&error);
    outcome = {makeError(MOERT_OUT_OF_MEMORY, "rank %d: %s", setup.rank,
                         isMemory ? "out of memory" : error.what()),
               true};
    observer.onFailure(outcome);
  }
  close(report);
  return outcome.status.isOk() ? 0 : 1;
}

Status RankProcess::start(RankSetup setup) {
  pid_t parent = getpid();
  pid = fork();
  if (pid < 0)
    return makeOsError(MOERT_IO, errno, "cannot start rank %d", setup.rank);
  if (pid > 0)
    return Status::ok();
  // No rank outlives moe-run, however that ends.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(1);
  sigprocmask(SIG_SETMASK, &setup.signalMask, nullptr);
  for (int fd : setup.unneeded)
    if (fd >= 0)
      close(fd);
  // Exit handlers run, but nothing that belongs to moe-run's own process is
  // destroyed.
  std::exit(runChild(setup));
}

void RankProcess::kill() {
  if (pid > 0)
    ::kill(pid, SIGKILL);
}

RankEvent RankProcess::poll() {
  RankEvent event;
  int status = 0;
  if (pid <= 0 ||
      waitpid(pid, &status, WNOHANG | WUNTRACED | WCONTINUED) != pid)
    return event;
  if (WIFSTOPPED(status)) {
    event.kind = RankEvent::Stopped;
    event.signal = WSTOPSIG(status);
    return event;
  }
  if (WIFCONTINUED(status)) {
    event.kind = RankEvent::Continued;
    return event;
  }
  pid = -1;
  event.kind = RankEvent::Ended;
  if (WIFSIGNALED(status)) {
    event.signal = WTERMSIG(status);
    event.how = "killed by " + describeSignal(event.signal);
  } else if (WEXITSTATUS(status) != 0) {
    event.how = format("ended early with exit code %d", WEXITSTATUS(status));
  }
  return event;
}

void RankProcess::end() {
  kill();
  while (pid > 0 && waitpid(pid, nullptr, 0) < 0 && errno == EINTR)
    ;
  pid = -1;
}
