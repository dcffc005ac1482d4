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

using namespace moe::rt;
using namespace moe::rt::cts;

static void runRank(std::unique_ptr<Bootstrap> bootstrap,
                    const std::function<void(Context &)> &body,
                    double timeoutSeconds) {
  ContextOptions options;
  options.timeoutSeconds = timeoutSeconds;
  options.backend = backendUnderTest;
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
  GroupResult result = kind == RankKind::Threads
                           ? runThreads(size, body, timeoutSeconds)
                           : runProcesses(size, body, timeoutSeconds);
  for (size_t r = 0; r < result.exitCodes.size(); ++r) {
    if (std::find(mayDie.begin(), mayDie.end(), int(r)) != mayDie.end())
      continue;
    EXPECT_EQ(result.exitCodes[r], 0) << "rank " << r;
  }
  return result;
}

void BackendTest::SetUp() {
  auto bootstrap = createSoloBootstrap();
  auto backend = createBackend(backendUnderTest, *bootstrap);
  if (backend.isOk())
    return;
  if (backend.status().code() == MOERT_UNAVAILABLE) {
    std::printf("skipped: %s\n", backend.status().message().c_str());
    GTEST_SKIP() << backend.status().message();
  }
  FAIL() << backend.status().message();
}

std::string
moe::rt::cts::kindName(const ::testing::TestParamInfo<RankKind> &info) {
  return info.param == RankKind::Threads ? "Threads" : "Processes";
}

std::string moe::rt::cts::artifactPath(const std::string &name) {
  const char *folder = std::getenv("MOE_TEST_ARTIFACT_DIR");
  return std::string(folder ? folder : MOE_TEST_ARTIFACT_DIR) + "/" + name +
         ".so";
}
