//===- PoolTest.cpp - the pool of rank processes and its failures ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The disabled tests are scenes, most of which fail. The others run this
/// program with a pool and one scene, and look at what comes out.
///
//===----------------------------------------------------------------------===//

#include "RankPool.h"

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

const BackendUnderTest moe::rt::cts::backendUnderTest = {"host",  "",   8, true,
                                                         nullptr, false};

int main(int argc, char **argv) { return runSuite(argc, argv); }

//===----------------------------------------------------------------------===//
// Scenes
//===----------------------------------------------------------------------===//

static void meet(Context &context) { ASSERT_OK(context.boot().barrier()); }

TEST(Scene, DISABLED_ProcessesLiveOn) {
  static int groups = 0;
  runGroup(RankKind::Processes, 1, [](Context &) { ++groups; });
  runGroup(RankKind::Processes, 5, [](Context &) { ++groups; });
  runGroup(RankKind::Threads, 3, meet);
  runGroup(RankKind::Processes, 2, [](Context &) { ++groups; });
  runGroup(RankKind::Processes, 8, [](Context &context) {
    meet(context);
    const int before[8] = {3, 2, 1, 1, 1, 0, 0, 0};
    EXPECT_EQ(groups, before[context.rank()]);
  });
}

TEST(Scene, DISABLED_RankTwoFails) {
  runGroup(RankKind::Processes, 4, [](Context &context) {
    EXPECT_NE(context.rank(), 2) << "a line\nand another";
  });
  // That was all: the next group is good.
  EXPECT_EQ(runGroup(RankKind::Processes, 4, meet).exitCodes,
            std::vector<int>(4, 0));
}

TEST(Scene, DISABLED_RankTwoIsKilled) {
  runGroup(RankKind::Processes, 4, [](Context &context) {
    if (context.rank() == 2)
      raise(SIGKILL);
    EXPECT_EQ(context.boot().barrier().code(), MOERT_PEER_FAILED);
  });
  // One without it, one that it belongs to.
  EXPECT_EQ(runGroup(RankKind::Processes, 2, meet).exitCodes,
            std::vector<int>(2, 0));
  runGroup(RankKind::Processes, 3, meet);
}

TEST(Scene, DISABLED_RankTwoExits) {
  runGroup(RankKind::Processes, 4, [](Context &context) {
    if (context.rank() == 2)
      _exit(0);
  });
}

TEST(Scene, DISABLED_RankZeroIsKilled) {
  runGroup(RankKind::Processes, 3, [](Context &context) {
    if (context.rank() == 0)
      raise(SIGKILL);
  });
}

TEST(Scene, DISABLED_RankOneHangs) {
  runGroup(RankKind::Processes, 3, [](Context &context) {
    while (context.rank() == 1)
      pause();
  });
  runGroup(RankKind::Threads, 3, meet);
}

TEST(Scene, DISABLED_RankOneAsksForAnotherGroup) {
  static int rank = -1;
  runGroup(RankKind::Processes, 4,
           [](Context &context) { rank = context.rank(); });
  runGroup(RankKind::Processes, rank == 1 ? 3 : 2, meet);
}

TEST(Scene, DISABLED_RankOneLeavesOutAGroup) {
  static int rank = -1;
  runGroup(RankKind::Processes, 4,
           [](Context &context) { rank = context.rank(); });
  if (rank != 1)
    runGroup(RankKind::Processes, 2, meet);
}

/// Rank 1 has been in one group less when the second test begins.
TEST(Scene, DISABLED_LeftEarlyByRankOne) {
  static int rank = -1;
  runGroup(RankKind::Processes, 4,
           [](Context &context) { rank = context.rank(); });
  if (rank == 1)
    return;
  runGroup(RankKind::Processes, 2, meet);
}

TEST(Scene, DISABLED_LeftEarlyAndThenThis) {
  runGroup(RankKind::Processes, 2, meet);
}

TEST(ProcessTest, DISABLED_CannotBeInAPool) {}

//===----------------------------------------------------------------------===//
// What comes of them
//===----------------------------------------------------------------------===//

namespace {
struct Outcome {
  int exitCode = -1;
  std::string output; ///< of all processes
  std::string json;   ///< the results
  double seconds = 0;
};
} // namespace

/// Runs a scene in a pool, for a minute at most.
static Outcome play(const std::string &scene,
                    const std::string &flag = "--rank_pool") {
  Outcome outcome;
  std::string path =
      ::testing::TempDir() + format("moe-pool-%d.json", int(getpid()));
  std::string filter = "--gtest_filter=*.DISABLED_" + scene;
  std::string json = "--gtest_output=json:" + path;
  int64_t begin = nowNs();
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd in(ends[0]), out(ends[1]);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out.get(), 1);
    dup2(out.get(), 2);
    execl("/proc/self/exe", "scene", flag.c_str(), filter.c_str(), json.c_str(),
          "--gtest_also_run_disabled_tests", "--gtest_color=no", nullptr);
    _exit(127);
  }
  out.reset();
  char buffer[4096];
  pollfd entry{in.get(), POLLIN, 0};
  while (poll(&entry, 1, 60000) > 0) {
    ssize_t length = read(in.get(), buffer, sizeof(buffer));
    if (length <= 0)
      break;
    outcome.output.append(buffer, length);
  }
  outcome.seconds = double(nowNs() - begin) / 1e9;
  if (outcome.seconds >= 60)
    kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status))
    outcome.exitCode = WEXITSTATUS(status);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  outcome.json = text.str();
  unlink(path.c_str());
  return outcome;
}

static bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

/// The scene failed, and both the output and the results say `part`.
static void expectFailure(const Outcome &outcome, const std::string &part) {
  EXPECT_EQ(outcome.exitCode, 1) << outcome.output;
  EXPECT_TRUE(has(outcome.output, part)) << outcome.output;
  EXPECT_TRUE(has(outcome.json, part)) << outcome.json;
  EXPECT_TRUE(has(outcome.json, "\"failures\": 1")) << outcome.json;
  // A hang would take as long as the pool bears silence, or a time-out.
  EXPECT_LT(outcome.seconds, 15);
}

TEST(Pool, ProcessesLiveOn) {
  Outcome outcome = play("ProcessesLiveOn");
  EXPECT_EQ(outcome.exitCode, 0) << outcome.output;
  EXPECT_TRUE(has(outcome.json, "\"failures\": 0")) << outcome.json;
  // Worker 0 alone prints.
  EXPECT_FALSE(has(outcome.output, "rank ")) << outcome.output;
  size_t first = outcome.output.find("[  PASSED  ] 1 test.");
  EXPECT_NE(first, std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find("[  PASSED  ]", first + 1), std::string::npos)
      << outcome.output;
}

TEST(Pool, FailureOnOneRankIsThatOfTheTest) {
  Outcome outcome = play("RankTwoFails");
  expectFailure(outcome, "PoolTest.cpp");
  for (const char *part :
       {"rank 2: a line\nrank 2: and another\n", "rank 2: ", "PoolTest.cpp:"})
    EXPECT_TRUE(has(outcome.output, part)) << outcome.output;
  for (const char *part : {"rank 2: ", "and another"})
    EXPECT_TRUE(has(outcome.json, part)) << outcome.json;
  EXPECT_FALSE(has(outcome.output, "rank 1: ")) << outcome.output;
}

TEST(Pool, DeathOfARankNamesIt) {
  Outcome outcome = play("RankTwoIsKilled");
  expectFailure(outcome, "rank 2: killed by signal 9");
  // Its later group fails too.
  EXPECT_TRUE(has(outcome.json, "rank 2 is gone: killed by signal 9"))
      << outcome.json;
  expectFailure(play("RankTwoExits"), "rank 2: ended early with exit code 0");
}

TEST(Pool, DeathOfWorkerZeroEndsTheRun) {
  Outcome outcome = play("RankZeroIsKilled");
  EXPECT_EQ(outcome.exitCode, 1);
  EXPECT_TRUE(has(outcome.output, "rank 0: killed by signal 9"))
      << outcome.output;
  EXPECT_LT(outcome.seconds, 15);
}

TEST(Pool, SilentRankIsKilled) {
  expectFailure(play("RankOneHangs", "--rank_pool=5"),
                "rank 1: killed after 5 s of silence");
}

TEST(Pool, RanksInDifferentGroups) {
  expectFailure(play("RankOneAsksForAnotherGroup"), "asks for a group of");
  expectFailure(play("RankOneLeavesOutAGroup"), "rank 1 is not in this group");
  // Each test says so, and none runs with ranks of another one.
  Outcome outcome = play("LeftEarly*");
  EXPECT_EQ(outcome.exitCode, 1) << outcome.output;
  EXPECT_TRUE(has(outcome.json, "others for 2 in Scene.DISABLED_LeftEarly"))
      << outcome.json;
  EXPECT_TRUE(has(outcome.json, "\"failures\": 2")) << outcome.json;
}

TEST(Pool, TestsOfDyingRanksAreLeftOut) {
  Outcome outcome = play("CannotBeInAPool");
  EXPECT_EQ(outcome.exitCode, 0) << outcome.output;
  EXPECT_TRUE(has(outcome.output, "0 tests")) << outcome.output;
  EXPECT_EQ(play("*", "--no_such_flag").exitCode, 2);
}
