//===- JobOnHosts.cpp - a process of a job on several hosts ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostsMember.h"
#include "JobLink.h"
#include "JobProcess.h"
#include "StandardStream.h"
#include "Supervisor.h"
#include "Word.h"

#include <chrono>
#include <thread>

using namespace moe::rt;
using namespace moe::run;

/// How long the place of those who speak stays taken, so that others of this
/// host, to whom the same happens a little later, find it so.
static constexpr double wordSeconds = 2;

/// The moe-run of rank 0.
int JobProcess::keepJobOnHosts(HostsSetup &setup) {
  auto listener = JobListener::create(size);
  if (listener.isOk())
    setup.invitation = (*listener)->invitation();
  else if (!startError.exitCode)
    setup.startError = {"rank 0: " + listener.status().message(), 1};
  Supervisor supervisor(options, signals, size);
  supervisor.word = word.get();
  supervisor.hosts = &setup;
  // Members that find out for themselves that the job cannot go on say so, too.
  Place turn;
  supervisor.speak = [&](const std::string &message) {
    auto found = takeOrVisitPlace(place + "/word");
    if (found.isOk() && !found->listener.isValid())
      return;
    if (found.isOk())
      turn = std::move(*found);
    printError(message);
  };
  if (listener.isOk())
    supervisor.awaitMembers(**listener);
  if (Status s = supervisor.startRank(0, file, ownOutputs()); !s.isOk()) {
    supervisor.speak(s.message());
    return 1;
  }
  int exitCode = supervisor.superviseAll(outputs, launcherHandle.get());
  if (exitCode != 0 && turn.listener.isValid())
    std::this_thread::sleep_for(std::chrono::duration<double>(wordSeconds));
  return exitCode;
}

int JobProcess::runOnHosts() {
  HostsSetup setup{job, "", startError};
  auto made = makeWord();
  if (!made.isOk()) {
    printError(
        format("rank %d: %s", job.rank, made.status().message().c_str()));
    return 1;
  }
  word = made.take();
  if (job.rank == 0)
    return keepJobOnHosts(setup);
  HostsMember member(options, signals, outputs, launcherHandle.get());
  int exitCode = member.run({options,
                             file,
                             job.rank,
                             size,
                             UniqueFd(),
                             ownOutputs(),
                             signals.oldMask(),
                             {},
                             &setup});
  if (member.lastWords().empty())
    return exitCode;
  auto turn = takeOrVisitPlace(place + "/word");
  if (turn.isOk() && !turn->listener.isValid())
    return exitCode;
  printError(member.lastWords());
  std::this_thread::sleep_for(std::chrono::duration<double>(wordSeconds));
  return exitCode;
}
