//===- Supervisor.cpp - moe-run's own process -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Supervisor.h"

#include "RankRun.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/SocketHub.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

/// How long the other ranks have to end by themselves after an error.
static constexpr int64_t graceNs = 1000000000;

namespace {
class Supervisor {
public:
  Supervisor(const Options &options, const ArtifactFile &file, int numRanks)
      : options(options), file(file), ranks(numRanks) {}

  /// In the parent, true. In a rank's process, false, with `exitCode` set.
  bool start(const sigset_t &oldMask, int &exitCode);
  int superviseAll(int signals);

private:
  struct Rank {
    pid_t pid = -1;
    bool isDone = false; ///< it has reported success
    bool wasKilled = false;
    std::string error;
    bool isOrigin = false;
  };

  int runChild(int rank, UniqueFd socket);
  void handleReport(int rank, const std::string &text);
  void reap();
  void noteFailure(int rank, const std::string &error);
  void killAll();
  int finish();

  const Options &options;
  const ArtifactFile &file;
  std::vector<Rank> ranks;
  std::unique_ptr<SocketHub> hub;
  std::string death; ///< the first rank that died, and how
  int64_t graceDeadline = -1;
  int interruptedBy = 0;
};
} // namespace

/// What the child does; it returns through main, so that its exit handlers
/// run.
int Supervisor::runChild(int rank, UniqueFd socket) {
  int report = dup(socket.get());
  auto bootstrap = createSocketBootstrap(std::move(socket), rank,
                                         static_cast<int>(ranks.size()));
  auto tell = [report](const Outcome &outcome) {
    Json json = {{"ok", outcome.status.isOk()},
                 {"origin", outcome.isOrigin},
                 {"error", outcome.status.message()}};
    sendReport(report,
               json.dump(-1, ' ', false, Json::error_handler_t::replace));
  };
  Outcome outcome =
      runRank(options, file, std::move(bootstrap), getppid(), tell);
  if (outcome.status.isOk())
    tell(outcome);
  close(report);
  return outcome.status.isOk() ? 0 : 1;
}

bool Supervisor::start(const sigset_t &oldMask, int &exitCode) {
  std::vector<UniqueFd> ours, theirs;
  for (size_t r = 0; r < ranks.size(); ++r) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      printError(std::string("cannot make a socket: ") + std::strerror(errno));
      exitCode = 1;
      return false;
    }
    ours.emplace_back(pair[0]);
    theirs.emplace_back(pair[1]);
  }
  pid_t parent = getpid();
  for (size_t r = 0; r < ranks.size(); ++r) {
    ranks[r].pid = fork();
    if (ranks[r].pid < 0) {
      printError(std::string("cannot start a rank: ") + std::strerror(errno));
      killAll();
      for (size_t i = 0; i < r; ++i)
        waitpid(ranks[i].pid, nullptr, 0);
      exitCode = 1;
      return false;
    }
    if (ranks[r].pid == 0) {
      // No rank outlives moe-run, however that ends.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent)
        _exit(1);
      sigprocmask(SIG_SETMASK, &oldMask, nullptr);
      UniqueFd socket = std::move(theirs[r]);
      ours.clear();
      theirs.clear();
      exitCode = runChild(static_cast<int>(r), std::move(socket));
      return false;
    }
  }
  theirs.clear();
  hub = std::make_unique<SocketHub>(std::move(ours));
  hub->onReport = [this](int rank, const std::string &text) {
    handleReport(rank, text);
  };
  return true;
}

void Supervisor::noteFailure(int rank, const std::string &error) {
  if (graceDeadline < 0)
    graceDeadline = nowNs() + graceNs;
  hub->fail(
      makeError(MOERT_PEER_FAILED, "rank %d failed: %s", rank, error.c_str()));
}

void Supervisor::handleReport(int rank, const std::string &text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return;
  if (json.value("ok", false)) {
    ranks[rank].isDone = true;
    return;
  }
  ranks[rank].error = json.value("error", "");
  ranks[rank].isOrigin = json.value("origin", false);
  noteFailure(rank, ranks[rank].error);
}

/// Collects the ranks that have ended. One that was not killed from here and
/// has neither succeeded nor reported an error has died.
void Supervisor::reap() {
  for (size_t r = 0; r < ranks.size(); ++r) {
    Rank &rank = ranks[r];
    int status = 0;
    if (rank.pid <= 0 || waitpid(rank.pid, &status, WNOHANG) != rank.pid)
      continue;
    rank.pid = -1;
    // Its last words may still be in the socket.
    hub->step(0);
    bool isGood = WIFEXITED(status) && WEXITSTATUS(status) == 0 && rank.isDone;
    if (isGood || rank.wasKilled || !rank.error.empty())
      continue;
    std::string how =
        WIFSIGNALED(status)
            ? format("rank %zu: killed by signal %d (%s)", r, WTERMSIG(status),
                     strsignal(WTERMSIG(status)))
            : format("rank %zu: ended early with exit code %d", r,
                     WEXITSTATUS(status));
    if (death.empty())
      death = how;
    rank.error = how;
    noteFailure(static_cast<int>(r), how);
  }
}

void Supervisor::killAll() {
  for (Rank &rank : ranks)
    if (rank.pid > 0) {
      rank.wasKilled = true;
      kill(rank.pid, SIGKILL);
    }
}

int Supervisor::superviseAll(int signals) {
  auto isRunning = [&] {
    for (const Rank &rank : ranks)
      if (rank.pid > 0)
        return true;
    return false;
  };
  while (isRunning()) {
    if (hub->step(100, signals)) {
      signalfd_siginfo info;
      while (read(signals, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo != SIGCHLD) {
          interruptedBy = static_cast<int>(info.ssi_signo);
          killAll();
        }
    }
    reap();
    if (graceDeadline >= 0 && nowNs() > graceDeadline)
      killAll();
  }
  return finish();
}

/// One line for the whole run: how a rank died, or the error of the rank that
/// had it first.
int Supervisor::finish() {
  bool isGood = !interruptedBy;
  const Rank *first = nullptr;
  for (const Rank &rank : ranks) {
    isGood &= rank.isDone && rank.error.empty();
    if (!rank.error.empty() && (!first || (rank.isOrigin && !first->isOrigin)))
      first = &rank;
  }
  if (isGood)
    return 0;
  for (const std::string &output : options.outputs)
    for (size_t r = 0; r < ranks.size(); ++r)
      (void)unlink(
          temporaryName(output, static_cast<int>(r), getpid()).c_str());
  if (interruptedBy) {
    printError(format("interrupted by signal %d (%s)", interruptedBy,
                      strsignal(interruptedBy)));
    return 128 + interruptedBy;
  }
  if (!death.empty()) {
    // Another rank may have seen where it was.
    bool isSeen = first && first->isOrigin;
    printError(death + (isSeen ? "; " + first->error : ""));
  } else {
    printError(first ? first->error : "a rank ended without a report");
  }
  return 1;
}

/// Number of ranks to start: as asked, or as the artifact says.
static Expected<int> countRanks(const Options &options,
                                const ArtifactFile &file) {
  if (options.ranks)
    return options.ranks;
  auto artifact =
      Artifact::open(forRank(file.path, 0), forRank(file.displayName, 0));
  if (!artifact.isOk())
    return artifact.status();
  int64_t ranks = (*artifact)->manifest().ranks;
  if (ranks > maxRanks)
    return makeError(MOERT_UNAVAILABLE,
                     "%s: the artifact is for %lld ranks; moe-run can start %d",
                     file.displayName.c_str(), (long long)ranks, maxRanks);
  return ranks ? static_cast<int>(ranks) : 1;
}

int moe::run::runSupervised(const Options &given) {
  Options options = given;
  sigset_t handled, oldMask;
  sigemptyset(&handled);
  for (int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP})
    sigaddset(&handled, signal);
  sigprocmask(SIG_BLOCK, &handled, &oldMask);
  UniqueFd signals(signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.isValid()) {
    printError(std::string("cannot watch signals: ") + std::strerror(errno));
    return 1;
  }
  std::string error;
  if (!checkFile(options, 1, error)) {
    printError(error);
    return 2;
  }
  auto file = prepareArtifact(options);
  if (!file.isOk()) {
    printError(file.status().message());
    return 1;
  }
  auto numRanks = countRanks(options, *file);
  if (!numRanks.isOk()) {
    printError(numRanks.status().message());
    return 1;
  }
  if (!checkPaths(options, *numRanks, error)) {
    printError(error);
    return 2;
  }
  Supervisor supervisor(options, *file, *numRanks);
  int exitCode = 0;
  if (!supervisor.start(oldMask, exitCode))
    return exitCode;
  return supervisor.superviseAll(signals.get());
}
