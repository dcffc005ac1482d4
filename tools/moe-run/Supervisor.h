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
#include "JobLink.h"
#include "Member.h"
#include "Options.h"
#include "Outputs.h"
#include "RankProcess.h"
#include "Signals.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/SocketHub.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moe::run {

/// Serves the ranks of a run until all have ended, says once what went wrong,
/// and gives the outputs their names when nothing did. A rank is a child of
/// this process, or one of another process of the same job, a *member*. Those
/// of other hosts connect when the run has begun, and publish their own
/// outputs.
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
  /// Expects the members of all ranks but 0 to connect to `listener`.
  void awaitMembers(JobListener &listener);

  /// Until all ranks have ended. Then the exit code of the run. `launcher` is
  /// a descriptor of the process that started those of the job, or -1.
  int superviseAll(std::vector<OutputFile> &outputs, int launcher);

  /// The right to speak for the whole job (Word.h), or -1.
  int word = -1;
  /// How a job on several hosts meets; null on one host.
  const HostsSetup *hosts = nullptr;
  /// Prints errors, where that is not for this process alone to decide.
  std::function<void(const std::string &)> speak;

private:
  /// How long members have to kill their ranks, and to end, before they are
  /// killed themselves.
  static constexpr double killSeconds = 2;
  /// What members are told that may come late.
  static constexpr const char *killMessage = R"({"kill": true})",
                              *spokenMessage = R"({"spoken": true})";

  struct Rank {
    RankProcess process;
    Member member;
    pid_t memberProcess = -1;
    rt::UniqueFd memberHandle; ///< of one on this host
    std::string memberText;    ///< "1234", "1234 on node2"
    bool isAwaited = false;    ///< it has not connected yet
    bool hasAnswered = false;  ///< what it was last asked for
    std::string answer;        ///< "" or an error
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
  void step(int output = -1);
  void handleReport(int rank, const std::string &text);
  void handleEvent(int rank, const RankEvent &event);
  void handleMember(int rank);
  void handleMessage(int rank, const std::string &text);
  void takeMembers();
  void checkArrival();
  void checkLimits();
  void noteDeath(int rank, const std::string &how, int signal = 0);
  void noteFailure(int rank, const std::string &error);
  std::string lastSeen(int rank) const;
  std::string stoppedRanks(const std::string &said) const;
  void killAll();
  void killMembers();
  bool anyRunning() const;
  const Rank *findFailed() const;
  bool wasInterrupted() const;
  bool finish(std::vector<OutputFile> &outputs);
  rt::Status gatherMembers();
  rt::Status publishAll(std::vector<OutputFile> &outputs);
  rt::Status printDocument();
  rt::Status askRemoteMembers(const std::string &request, const char *what);
  int conclude(int exitCode);
  void waitForMembers(rt::Deadline deadline);
  bool hasMembers() const;
  void say(const std::string &message);
  void sayReason();

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
  JobListener *listener = nullptr;
  std::optional<rt::Deadline> arrival; ///< until when members have to connect
  int interruptedBy = 0;
  int errorCode = 0; ///< that the first error asks to end with, or 0
  int launcher = -1; ///< readable once it has ended
  bool isLauncherGone = false;
  bool hasSpoken = false;     ///< why the job ends
  std::optional<int> verdict; ///< the exit code that members have been told
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_SUPERVISOR_H
