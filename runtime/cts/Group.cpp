//===- Group.cpp - groups of ranks for the conformance suite --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Group.h"

#include "RankPool.h"
#include "moe-runtime/SocketHub.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

/// How a process with ranks ends when one lacks something for the test.
static constexpr int lackingCode = 77;
static std::atomic<bool> isLacking{false};

void moe::rt::cts::lackForTest(const std::string &reason) {
  std::printf("skipped: %s\n", reason.c_str());
  isLacking = true;
}

/// Of a process that has run ranks of the test.
static int endOfProcess() {
  std::fflush(nullptr);
  if (::testing::Test::HasFailure())
    return 1;
  return isLacking ? lackingCode : 0;
}

static void runRank(std::unique_ptr<Bootstrap> bootstrap,
                    const std::function<void(Context &)> &body,
                    double timeoutSeconds) {
  ContextOptions options;
  options.timeoutSeconds = timeoutSeconds;
  options.backend = backendUnderTest.name;
  // Race detectors leave little address space.
  options.symmReserveBytes = size_t(1) << 30;
  auto context = Context::create(std::move(bootstrap), options);
  ASSERT_TRUE(context.isOk()) << context.status().message();
  if (PoolWorker::get() && backendUnderTest.keepAlive)
    backendUnderTest.keepAlive(**context);
  body(**context);
}

bool moe::rt::cts::makeSocketPairs(int size, std::vector<UniqueFd> &ours,
                                   std::vector<UniqueFd> &theirs) {
  for (int r = 0; r < size; ++r) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      return false;
    ours.emplace_back(pair[0]);
    theirs.emplace_back(pair[1]);
  }
  return true;
}

static GroupResult runThreads(int size,
                              const std::function<void(Context &)> &body,
                              double timeoutSeconds) {
  auto bootstraps = createThreadBootstraps(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back(
        [&, r] { runRank(std::move(bootstraps[r]), body, timeoutSeconds); });
  for (std::thread &thread : threads)
    thread.join();
  return {std::vector<int>(size, 0), {}};
}

/// All threads in one child process, so that this one never touches a device.
static GroupResult runThreadsInChild(int size,
                                     const std::function<void(Context &)> &body,
                                     double timeoutSeconds) {
  std::fflush(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    runThreads(size, body, timeoutSeconds);
    _exit(endOfProcess());
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) {
    ADD_FAILURE() << "no child process";
    return {};
  }
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {std::vector<int>(size, code), {}};
}

static GroupResult runProcesses(int size,
                                const std::function<void(Context &)> &body,
                                double timeoutSeconds) {
  std::vector<UniqueFd> ours, theirs;
  if (!makeSocketPairs(size, ours, theirs)) {
    ADD_FAILURE() << "no socket";
    return {};
  }
  std::fflush(nullptr);
  std::vector<pid_t> pids;
  for (int r = 0; r < size; ++r) {
    pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      UniqueFd socket = std::move(theirs[r]);
      ours.clear();
      theirs.clear();
      runRank(createSocketBootstrap(std::move(socket), r, size), body,
              timeoutSeconds);
      _exit(endOfProcess());
    }
    pids.push_back(pid);
  }
  theirs.clear();
  SocketHub hub(std::move(ours));
  GroupResult result{std::vector<int>(size, -1), {}};
  size_t running = pids.size();
  // Like moe-run: serve the ranks, collect those that end.
  while (running) {
    hub.step(20);
    for (int r = 0; r < size; ++r) {
      int status = 0;
      if (result.exitCodes[r] >= 0 ||
          waitpid(pids[r], &status, WNOHANG) != pids[r])
        continue;
      result.exitCodes[r] =
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      --running;
    }
  }
  return result;
}

static GroupResult runInPool(PoolWorker &worker, RankKind kind, int size,
                             const std::function<void(Context &)> &body,
                             double timeoutSeconds) {
  if (kind == RankKind::Threads)
    return worker.runThreads(
        size, [&] { return runThreads(size, body, timeoutSeconds); });
  return worker.runProcesses(size, [&](UniqueFd socket) {
    runRank(createSocketBootstrap(std::move(socket), worker.rank(), size), body,
            timeoutSeconds);
  });
}

GroupResult moe::rt::cts::runGroup(RankKind kind, int size,
                                   const std::function<void(Context &)> &body,
                                   double timeoutSeconds,
                                   std::vector<int> mayDie) {
  GroupResult result;
  isLacking = false;
  if (PoolWorker *worker = PoolWorker::get()) {
    if (!mayDie.empty()) {
      ADD_FAILURE() << "ranks of a pool must not die";
      return {std::vector<int>(size, -1), {}};
    }
    result = runInPool(*worker, kind, size, body, timeoutSeconds);
  } else {
    auto run = kind == RankKind::Processes     ? runProcesses
               : backendUnderTest.survivesFork ? runThreads
                                               : runThreadsInChild;
    result = run(size, body, timeoutSeconds);
  }
  result.isSkipped = isLacking;
  for (int &code : result.exitCodes)
    if (code == lackingCode) {
      result.isSkipped = true;
      code = 0;
    }
  if (result.isSkipped)
    [] { GTEST_SKIP() << "a rank printed what is lacking"; }();
  result.texts.resize(result.exitCodes.size());
  for (size_t r = 0; r < result.exitCodes.size(); ++r) {
    if (std::find(mayDie.begin(), mayDie.end(), int(r)) != mayDie.end())
      continue;
    EXPECT_EQ(result.exitCodes[r], 0)
        << "rank " << r << ": " << result.texts[r];
  }
  return result;
}

/// Reads what a child writes until it ends; false after a minute.
static bool readAll(int fd, std::string &text) {
  int64_t deadline = nowNs() + int64_t(60e9);
  char buffer[512];
  for (;;) {
    int64_t leftMs = (deadline - nowNs()) / 1000000;
    pollfd entry{fd, POLLIN, 0};
    if (leftMs <= 0 || poll(&entry, 1, static_cast<int>(leftMs)) <= 0)
      return false;
    ssize_t length = read(fd, buffer, sizeof(buffer));
    if (length <= 0)
      return true;
    text.append(buffer, length);
  }
}

static Status probeBackend() {
  int ends[2];
  if (pipe(ends) != 0)
    return Status(MOERT_INTERNAL, "no pipe");
  UniqueFd in(ends[0]), out(ends[1]);
  std::fflush(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    auto bootstrap = createSoloBootstrap();
    auto backend = createBackend(backendUnderTest.name, *bootstrap);
    const std::string &text = backend.status().message();
    bool isWritten =
        write(out.get(), text.data(), text.size()) == ssize_t(text.size());
    _exit(isWritten ? backend.status().code() : MOERT_INTERNAL);
  }
  out.reset();
  std::string text;
  if (pid > 0 && !readAll(in.get(), text)) {
    kill(pid, SIGKILL);
    return Status(MOERT_INTERNAL, "trying the backend took too long");
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
    return Status(MOERT_INTERNAL, "trying the backend ended the process");
  return Status(static_cast<moert_code>(WEXITSTATUS(status)), text);
}

const Status &moe::rt::cts::backendStatus() {
  static const Status status = probeBackend();
  return status;
}

void BackendTest::SetUp() {
  const Status &status = backendStatus();
  if (status.isOk())
    return;
  if (status.code() == MOERT_UNAVAILABLE) {
    std::printf("skipped: %s\n", status.message().c_str());
    GTEST_SKIP() << status.message();
  }
  FAIL() << status.message();
}

std::string
moe::rt::cts::kindName(const ::testing::TestParamInfo<RankKind> &info) {
  return info.param == RankKind::Threads ? "Threads" : "Processes";
}

std::string moe::rt::cts::artifactPath(const std::string &name) {
  const char *folder = std::getenv("MOE_TEST_ARTIFACT_DIR");
  return std::string(folder ? folder : MOE_TEST_ARTIFACT_DIR) + "/" +
         backendUnderTest.artifactFolder + name + ".so";
}
