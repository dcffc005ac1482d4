//===- TurnsTest.cpp - tests of the order of calls ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Turns.h"

#include <future>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::py;

static bool neverFails() { return false; }

/// A call behind many others waits for as long as these take.
TEST(TurnsTest, CallsThatGoOnKeepAWaitAlive) {
  constexpr int numBefore = 15;
  constexpr double seconds = 4;
  constexpr auto each = std::chrono::milliseconds(300);
  Turns turns(1, /*areAllHere=*/true);
  static const int site = 0;
  for (int64_t run = 0; run <= numBefore; ++run)
    turns.announce(0, {run, &site});
  auto last = std::async(std::launch::async, [&] {
    return turns.wait(0, {numBefore, &site}, seconds, neverFails);
  });
  for (int64_t run = 0; run < numBefore; ++run) {
    ASSERT_EQ(turns.wait(0, {run, &site}, seconds, neverFails), "");
    std::this_thread::sleep_for(each);
    turns.done(0);
  }
  EXPECT_EQ(last.get(), "");
  EXPECT_EQ(turns.numEnded(), size_t(numBefore));
}

TEST(TurnsTest, ACallThatStandsStillEndsTheWait) {
  Turns turns(1, /*areAllHere=*/true);
  static const int site = 0;
  turns.announce(0, {0, &site});
  turns.announce(0, {1, &site});
  ASSERT_EQ(turns.wait(0, {0, &site}, 1, neverFails), "");
  EXPECT_EQ(turns.wait(0, {1, &site}, 0.1, neverFails),
            "the call before it has not ended");
  EXPECT_FALSE(turns.isIdle());
  turns.done(0);
  EXPECT_TRUE(turns.isIdle());
}

TEST(TurnsTest, RanksFollowTheFirst) {
  Turns turns(2, /*areAllHere=*/true);
  static const int one = 0, other = 0;
  turns.announce(0, {7, &other});
  turns.announce(0, {7, &one});
  turns.announce(1, {7, &one});
  turns.announce(1, {7, &other});
  EXPECT_EQ(turns.wait(1, {7, &one}, 0.1, neverFails),
            "the first rank of this process has not come to this exchange");
  EXPECT_EQ(turns.wait(1, {7, &other}, 1, neverFails), "");
  turns.done(1);
}
