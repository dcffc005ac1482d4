//===- Supervisor.h - sees to it that all ranks end -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_SUPERVISOR_H
#define MOE_TOOLS_MOERUN_SUPERVISOR_H

#include "ArtifactFile.h"
#include "Options.h"
#include "Outputs.h"
#include "RankProcess.h"
#include "Signals.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/MessageSocket.h"
#include "moe-runtime/SocketHub.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moe::run {

/// Serves the ranks of a run until all have ended, says once what went wrong,
/// and gives the outputs their names when nothing did. A rank is a child of
/// this process, or one of another process of the same job, a *member*.
class Supervisor {
public:
  Supervisor(const Options &options, const Signals &signals, int numRanks);
  ~Supervisor();

  /// Starts a rank as a child. The child does not return from here.
  rt::Status startRank(int rank, const ArtifactFile &file,
                       const std::vector<OutputFile *> &outputs);
  /// Leaves a rank to the member at the other end, with its socket to the
  /// hub.
  void delegateRank(int rank, rt::MessageSocket member);

  /// Until all ranks have ended. Then the exit code of the run. `launcher` is
  /// a descriptor of the process that started those of the job, or -1.
  int superviseAll(std::vector<OutputFile> &outputs, int launcher);

  /// The right to speak for the whole job (Word.h), or -1.
  int word = -1;

private:
  /// How long members have to kill their ranks, and to end, before they are
  /// killed themselves.
  static constexpr double killSeconds = 2;

  struct Rank {
    RankProcess process;
    rt::MessageSocket member;
    pid_t memberProcess = -1;
    rt::UniqueFd memberHandle;
    bool isRunning = false;
    bool isDone = false;  ///< it has reported success
    bool isReady = false; ///< the member waits for the verdict
    bool wasKilled = false;
    bool isOrigin = false;
    std::string error;
    std::string phase = "starting";
    double limitSeconds = 0;
    std::optional<rt::Deadline> limit; ///< of the phase
    int stoppedBy = 0;                 ///< the signal
    std::optional<rt::Deadline> stopLimit;
  };

  rt::UniqueFd socketFor(int rank);
  void step(int launcher);
  void handleReport(int rank, const std::string &text);
  void handleEvent(int rank, const RankEvent &event);
  void handleMember(int rank);
  void checkLimits();
  void noteDeath(int rank, const std::string &how, int signal = 0);
  void noteFailure(int rank, const std::string &error);
  std::string lastSeen(int rank) const;
  void killAll();
  void killMembers();
  bool anyRunning() const;
  bool wasInterrupted() const;
  bool finish(std::vector<OutputFile> &outputs);
  rt::Status gatherMembers();
  int conclude(int exitCode);
  void say(const std::string &message) const;

  const Options &options;
  const Signals &signals;
  std::vector<Rank> ranks;
  std::vector<rt::UniqueFd> sockets; ///< ours, until the hub has them
  std::unique_ptr<rt::SocketHub> hub;
  std::string document;          ///< to print at the end
  std::string death;             ///< the first rank that died, and how
  bool isDeathByRequest = false; ///< by a signal that asks to end
  std::optional<rt::Deadline> grace;
  std::optional<rt::Deadline> killGrace; ///< for members to kill their ranks
  int interruptedBy = 0;
  bool isLauncherGone = false;
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_SUPERVISOR_H
