//===- Group.cpp - groups of ranks for the conformance suite --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Group.h"

#include "moe-runtime/SocketHub.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

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
  body(**context);
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
  return {std::vector<int>(size, 0)};
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
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) {
    ADD_FAILURE() << "no child process";
    return {};
  }
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {std::vector<int>(size, code)};
}

static GroupResult runProcesses(int size,
                                const std::function<void(Context &)> &body,
                                double timeoutSeconds) {
  std::vector<UniqueFd> ours, theirs;
  for (int r = 0; r < size; ++r) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      ADD_FAILURE() << "no socket";
      return {};
    }
    ours.emplace_back(pair[0]);
    theirs.emplace_back(pair[1]);
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
      std::fflush(nullptr);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    pids.push_back(pid);
  }
  theirs.clear();
  SocketHub hub(std::move(ours));
  GroupResult result{std::vector<int>(size, -1)};
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

GroupResult moe::rt::cts::runGroup(RankKind kind, int size,
                                   const std::function<void(Context &)> &body,
                                   double timeoutSeconds,
                                   std::vector<int> mayDie) {
  auto run = kind == RankKind::Processes     ? runProcesses
             : backendUnderTest.survivesFork ? runThreads
                                             : runThreadsInChild;
  GroupResult result = run(size, body, timeoutSeconds);
  for (size_t r = 0; r < result.exitCodes.size(); ++r) {
    if (std::find(mayDie.begin(), mayDie.end(), int(r)) != mayDie.end())
      continue;
    EXPECT_EQ(result.exitCodes[r], 0) << "rank " << r;
  }
  return result;
}

/// Tries the backend once, in a child process.
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
  char buffer[512];
  ssize_t length;
  while ((length = read(in.get(), buffer, sizeof(buffer))) > 0)
    text.append(buffer, length);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
    return Status(MOERT_INTERNAL, "trying the backend ended the process");
  return Status(static_cast<moert_code>(WEXITSTATUS(status)), text);
}

void BackendTest::SetUp() {
  static const Status status = probeBackend();
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
