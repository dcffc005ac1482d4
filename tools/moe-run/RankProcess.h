//===- RankProcess.h - a rank as a child of this process --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_RANKPROCESS_H
#define MOE_TOOLS_MOERUN_RANKPROCESS_H

#include "ArtifactFile.h"
#include "Options.h"
#include "Outputs.h"
#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <csignal>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <sys/types.h>
#include <vector>

namespace moe::rt {
struct LaunchedJob;
}

namespace moe::run {

/// What is wrong in a process of a job before it has met the others; all of
/// them may have the same to say.
struct StartError {
  std::string text;
  int exitCode = 0; ///< 0: nothing is wrong
};

/// What a rank of a job on several hosts needs to meet the others, by MPI.
struct HostsSetup {
  const rt::LaunchedJob &job;
  /// On rank 0, where its moe-run can be reached; the ranks tell theirs.
  std::string invitation;
  StartError startError; ///< of this process
};

/// What a rank's process is made from.
struct RankSetup {
  const Options &options;
  const ArtifactFile &file;
  int rank;
  int size;
  rt::UniqueFd socket;               ///< to the hub
  std::vector<OutputFile *> outputs; ///< of this rank
  const sigset_t &signalMask;        ///< that moe-run was started with
  std::vector<int> unneeded;         ///< descriptors the child closes
  const HostsSetup *hosts = nullptr; ///< null: the hub makes the group
};

/// What has become of a rank's process.
struct RankEvent {
  enum Kind { None, Ended, Stopped, Continued };
  Kind kind = None;
  int signal = 0; ///< that stopped or ended it
  /// Ended: "" for exit code 0, else "killed by signal 9 (Killed)".
  std::string how;
};

/// What the process of a rank tells of an event, to the one that leads the job.
nlohmann::json toMessage(const RankEvent &event);

/// "signal 15 (Terminated)".
std::string describeSignal(int number);

class RankProcess {
public:
  /// Forks. The child does not return from here.
  rt::Status start(RankSetup setup);
  bool isRunning() const { return pid > 0; }
  void kill();
  /// What has happened since the last time. Does not wait.
  RankEvent poll();
  /// Kills it and waits until it is gone.
  void end();

private:
  pid_t pid = -1;
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_RANKPROCESS_H
