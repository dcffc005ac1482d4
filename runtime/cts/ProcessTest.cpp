//===- ProcessTest.cpp - conformance: ranks that die ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ErrorCalls.h"

#include <csignal>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

TEST_F(ProcessTest, ResetAfterADeathSaysSo) {
  runGroup(
      RankKind::Processes, 3,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange3"), "art");
        ASSERT_OK(artifact.status());
        if (context.rank() == 2)
          _exit(0);
        std::vector<float> result;
        Status status = callExchange(context, **(*artifact)->entry("gather"),
                                     behave, 0, {}, result);
        EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
        status = context.reset();
        EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
        expectParts(status,
                    {"the group cannot be reset: rank 2 (process ",
                     ") died not in a call; the ranks that are left have to "
                     "make a new group"});
      },
      20, {2});
}

/// While its GPU waits for others, a rank is past its last collective.
TEST_F(ProcessTest, DeathOfARankThatWaitsForItsDevice) {
  runGroup(
      RankKind::Processes, 4,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange4"), "art");
        ASSERT_OK(artifact.status());
        Entry &entry = **(*artifact)->entry("rotate_times");
        ASSERT_OK(callRotateTimes(context, entry, 1));
        pid_t mine = getpid();
        std::vector<pid_t> all(4);
        ASSERT_OK(context.boot().allGather(&mine, sizeof(mine), all.data()));
        bool isAsynchronous = context.device().isAsynchronous();
        if (context.rank() == 1) {
          // Rank 2 does not get to its second rotation, which rank 3 needs.
          const char *there =
              isAsynchronous ? "waiting for its GPU" : "in test.rotate";
          moe::rt::Deadline deadline(60);
          while (context.control().lastSeen(2).find(there) ==
                     std::string::npos &&
                 !deadline.isOver())
            usleep(1000);
          kill(all[2], SIGKILL);
          awaitErrorOfOthers(context);
          return;
        }
        Status status = callRotateTimes(context, entry, 2);
        if (context.rank() != 3)
          return;
        EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
        expectParts(
            status,
            {isAsynchronous ? "call of entry 'rotate_times' of artifact art: "
                              "waiting for the GPU: rank 2 (process "
                            : "test.rotate at exchange.c:3:3, phase 'rotate': ",
             isAsynchronous
                 ? ") died waiting for its GPU in the call of entry "
                   "'rotate_times' of artifact art, where the last collective "
                   "is test.rotate at exchange.c:3:3"
                 : "waiting for a signal"});
      },
      20, {2});
}

TEST_F(ProcessTest, DeathOfARankIsSeenByTheOthers) {
  for (Mode mode : {dieByKill, exitCleanly}) {
    GroupResult result = runGroup(
        RankKind::Processes, 4,
        [&](Context &context) {
          Status status = callWith(context, "gather", mode);
          EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
          expectParts(status, {"rank 2 (process ", ") died",
                               "test.gather at exchange.c:1:1, phase 'put'"});
        },
        60, {2});
    EXPECT_EQ(result.exitCodes[2], mode == dieByKill ? 128 + 9 : 0);
  }
}
