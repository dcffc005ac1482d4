//===- Launch.cpp - who starts the ranks ----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Launch.h"

#include "JobProcess.h"
#include "Signals.h"
#include "StandardStream.h"
#include "Supervisor.h"
#include "moe-runtime/LaunchedJob.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/resource.h>

using namespace moe::rt;
using namespace moe::run;

/// Outputs of all ranks may be more descriptors than a shell allows at first.
static void allowDescriptors(size_t count) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count)
    return;
  limit.rlim_cur = std::min<rlim_t>(count, limit.rlim_max);
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/// Starts the ranks as children of this process.
static int startRanks(const Options &given, const Signals &signals) {
  Options options = given;
  auto fail = [](const std::string &error, int exitCode) {
    printError(error);
    return exitCode;
  };
  std::string error;
  if (!checkFile(options, 1, error))
    return fail(error, 2);
  int interruptedBy = 0;
  auto file = prepareArtifact(options, signals, interruptedBy);
  if (!file.isOk())
    return fail(file.status().message(),
                interruptedBy ? 128 + interruptedBy : 1);
  printDiagnostics(file->diagnostics);
  if (options.ranks == 0 && !file->facts.isOk())
    return fail(file->facts.status().message(), 1);
  if (options.ranks == 0) {
    if (file->facts->ranks > maxRanks)
      return fail(format("%s: the artifact is for %lld ranks; moe-run can "
                         "start %d",
                         file->displayName.c_str(),
                         (long long)file->facts->ranks, maxRanks),
                  1);
    options.ranks = std::max(1, static_cast<int>(file->facts->ranks));
  }
  if (!checkPaths(options, options.ranks, error))
    return fail(error, 2);

  size_t numOutputs = options.outputs.size() + !options.trace.empty();
  allowDescriptors(2 * numOutputs * options.ranks + 4 * options.ranks + 64);
  std::vector<OutputFile> outputs;
  std::vector<size_t> first; // of each rank in `outputs`
  for (int rank = 0; rank < options.ranks; ++rank) {
    first.push_back(outputs.size());
    for (const std::string &path : outputPaths(options, rank)) {
      auto created = OutputFile::create(path);
      if (!created.isOk())
        return fail(
            format("rank %d: %s", rank, created.status().message().c_str()), 1);
      outputs.push_back(created.take());
    }
  }
  first.push_back(outputs.size());
  Supervisor supervisor(options, signals, options.ranks);
  for (int rank = 0; rank < options.ranks; ++rank) {
    std::vector<OutputFile *> mine;
    for (size_t i = first[rank]; i < first[rank + 1]; ++i)
      mine.push_back(&outputs[i]);
    if (Status s = supervisor.startRank(rank, *file, mine); !s.isOk())
      return fail(s.message(), 1);
  }
  return supervisor.superviseAll(outputs, -1);
}

int moe::run::launch(const Options &options, const std::string &usageError) {
  std::optional<LaunchedJob> job;
  std::string error = usageError;
  auto environment = [](const char *name) { return std::getenv(name); };
  bool isConsistent = options.alone || detectJob(environment, job, error);
  if (!isConsistent)
    error += "; --alone starts all ranks from this process";
  if (!job && (!isConsistent || !usageError.empty())) {
    printError(error);
    return 2;
  }
  Signals signals;
  if (Status s = signals.block(); !s.isOk()) {
    printError(s.message());
    return 1;
  }
  if (!job)
    return startRanks(options, signals);
  JobProcess process(*job, options, signals);
  process.prepare({usageError, usageError.empty() ? 0 : 2});
  return process.run();
}
