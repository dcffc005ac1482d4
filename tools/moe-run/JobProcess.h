//===- JobProcess.h - one process of a job of mpirun or srun ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// A launcher starts one moe-run per rank. The first of them to come to the
/// place of the job becomes its *host*: it supervises the run, as moe-run does
/// when it starts the ranks itself. The others are *members*: each keeps one
/// rank as its child, tells the host what becomes of it, and ends with the
/// exit code that the host gives out. So a process that never comes is missed
/// by the others, one that dies has survivors who say so, and neither can keep
/// the job from ending.
///
/// On several hosts (JobOnHosts.cpp) the ranks meet by MPI, and the moe-run of
/// rank 0 is the host: the others connect to it when their ranks have met, and
/// each serves and publishes for its own rank.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_JOBPROCESS_H
#define MOE_TOOLS_MOERUN_JOBPROCESS_H

#include "ArtifactFile.h"
#include "Options.h"
#include "Outputs.h"
#include "RankProcess.h"
#include "Signals.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/LaunchedJob.h"
#include "moe-runtime/MessageSocket.h"

#include <optional>
#include <string>
#include <vector>

namespace moe::run {

/// This process as a part of its job.
class JobProcess {
public:
  JobProcess(const rt::LaunchedJob &job, const Options &options,
             const Signals &signals);

  /// Checks and opens what the rank needs.
  void prepare(const StartError &given);
  /// Meets the others and runs the rank. Returns the exit code.
  int run();

private:
  struct Visitor;

  void checkSize();
  void openFiles();
  int host(rt::UniqueFd listener);
  void receiveVisitors(int listener, std::vector<Visitor> &visitors);
  StartError awaitVisitors(int listener, std::vector<Visitor> &visitors);
  std::string findDifference(const std::vector<Visitor> &visitors,
                             const std::string &ownOptions) const;
  StartError missing(const std::vector<Visitor> &visitors,
                     const char *reason) const;
  int superviseJob(std::vector<Visitor> &visitors);
  int runOnHosts();
  int keepJobOnHosts(HostsSetup &setup);
  /// Without a value when the host left before the run began.
  std::optional<int> visit(rt::MessageSocket host);
  bool introduce(rt::MessageSocket &host);
  int keepRank(rt::MessageSocket &host, rt::UniqueFd socket);
  int leave(int exitCode, const char *message);
  int endBySignal(int number);
  void say(const std::string &message);
  void sayWithoutHost(const std::string &message);
  void sayOnce(const std::string &message);
  bool hasToBeSilent(rt::Deadline &wait);
  std::string hostText() const;
  std::vector<OutputFile *> ownOutputs();

  const rt::LaunchedJob &job;
  const Options &given;
  Options options;
  const Signals &signals;
  int size = 0;
  StartError startError;
  ArtifactFile file;
  std::vector<OutputFile> outputs;
  std::string place;
  pid_t launcher = 0;
  rt::UniqueFd launcherHandle;
  /// The right to speak for the job (Word.h): that of the last host that this
  /// process has met, else its own, which others get when it becomes the host.
  rt::UniqueFd word;
  int hostRank = -1;
  /// A host has died that had not welcomed this process.
  bool hasLostHost = false;
  /// A host has died whose right to speak this process does not share.
  bool hasLostWord = false;
  std::optional<rt::Deadline> meeting;  ///< until when all have to come
  std::optional<rt::Deadline> patience; ///< of members with their host
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_JOBPROCESS_H
