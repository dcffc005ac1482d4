//===- MpiRank.cpp - moe-run as one rank of an MPI job --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankRun.h"
#include "Supervisor.h"

#include <csignal>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

/// Temporary outputs of this rank, for a job that is ended from outside.
static std::vector<std::string> temporaries;

static void removeTemporaries(int signal) {
  for (const std::string &name : temporaries)
    (void)unlink(name.c_str());
  _exit(128 + signal);
}

/// Beside the program, or in the library folder next to it.
static Expected<std::unique_ptr<Bootstrap>> joinJob(double timeoutSeconds) {
  const char *name = "libmoe_bootstrap_mpi.so";
  Expected<std::unique_ptr<Bootstrap>> joined =
      Status(MOERT_UNAVAILABLE, "no plug-in");
  for (const char *folder : {"", "../lib/"}) {
    std::string path = programFolder() + folder + name;
    joined = createMpiBootstrap(path, timeoutSeconds);
    if (joined.isOk() || access(path.c_str(), F_OK) == 0)
      return joined;
  }
  return joined;
}

int moe::run::runMpiRank(const Options &given) {
  Options options = given;
  auto file = prepareArtifact(options);
  if (!file.isOk()) {
    printError(file.status().message());
    return 1;
  }
  auto bootstrap = joinJob(options.timeoutSeconds);
  if (!bootstrap.isOk()) {
    printError(bootstrap.status().message());
    return 1;
  }
  int rank = (*bootstrap)->rank(), size = (*bootstrap)->size();
  std::string error;
  if (options.ranks && options.ranks != size)
    error =
        format("-n %d, but the MPI job has %d processes", options.ranks, size);
  else
    (void)checkPaths(options, size, error);
  if (!error.empty()) {
    // The same on all ranks, which see the same files.
    if (rank == 0)
      printError(error);
    return 2;
  }
  for (const std::string &output : options.outputs)
    temporaries.push_back(temporaryName(output, rank, getpid()));
  std::signal(SIGTERM, removeTemporaries);

  // Only one rank speaks.
  auto tell = [](const Outcome &outcome) {
    if (outcome.isOrigin)
      printError(outcome.status.message());
  };
  Outcome outcome = runRank(options, *file, bootstrap.take(), getpid(), tell);
  std::signal(SIGTERM, SIG_DFL);
  if (outcome.status.isOk())
    return 0;
  // The first that aborts takes the whole job down, so the others leave the
  // one with the error the time to print it.
  if (!outcome.isOrigin)
    std::this_thread::sleep_for(std::chrono::seconds(2));
  abortMpiJob(1);
  return 1;
}
