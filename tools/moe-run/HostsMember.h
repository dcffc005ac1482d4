//===- HostsMember.h - the moe-run of a rank, away from rank 0 --*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_HOSTSMEMBER_H
#define MOE_TOOLS_MOERUN_HOSTSMEMBER_H

#include "JobLink.h"
#include "Member.h"
#include "Options.h"
#include "Outputs.h"
#include "RankProcess.h"
#include "Signals.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/SocketHub.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace moe::run {

/// Keeps one rank of a job on several hosts as its child, tells the moe-run of
/// rank 0 what becomes of it, and does what that one says. Without a connection
/// to it, or after that is lost, it ends by itself.
class HostsMember {
public:
  HostsMember(const Options &options, const Signals &signals,
              std::vector<OutputFile> &outputs, int launcher)
      : options(options), signals(signals), outputs(outputs),
        launcher(launcher) {}

  /// Returns the exit code.
  int run(RankSetup setup);
  /// What to print, if anything: nobody else knows it.
  const std::string &lastWords() const { return words; }

private:
  void handleReport(const std::string &text);
  void handleEvents();
  void handleMessages();
  void beginVisit(const std::string &invitation);
  void connect();
  void checkLimits();
  void tell(const nlohmann::json &json);
  void leave(int code, const std::string &message);
  void answerExpose();

  const Options &options;
  const Signals &signals;
  std::vector<OutputFile> &outputs;
  int launcher;
  int rank = -1;
  std::unique_ptr<rt::SocketHub> hub;
  RankProcess process;
  Member host; ///< the moe-run of rank 0
  bool hasHost = false;
  std::unique_ptr<JobVisit> visit; ///< while it connects
  std::vector<std::string> unsent; ///< until it is connected
  std::string phase = "starting";
  std::string error; ///< of the rank
  int errorCode = 0;
  bool isExposed = false;
  int interruptedBy = 0;
  bool isOrphaned = false;
  bool hasSpoken = false; ///< the host has said what ends the job
  bool isEnding = false;  ///< the host was told by the launcher to end the job
  /// Until when the rank has to be at its next phase, the connection has to be
  /// there, and the verdict has to come.
  std::optional<rt::Deadline> phaseLimit, connectLimit, verdictLimit, ending;
  std::optional<int> exitCode;
  std::string words;
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_HOSTSMEMBER_H
