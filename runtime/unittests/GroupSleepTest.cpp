//===- GroupSleepTest.cpp - tests of ranks that wake each other -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/GroupControl.h"

#include <atomic>
#include <functional>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::rt;

/// Longer than any test takes: whoever is not woken fails its test.
static constexpr int64_t kForeverNs = 60000000000;

/// Runs `body` on ranks that are threads.
static void runRanks(int size,
                     const std::function<void(GroupControl &)> &body) {
  std::vector<std::unique_ptr<Bootstrap>> ranks = createThreadBootstraps(size);
  std::vector<std::thread> threads;
  for (std::unique_ptr<Bootstrap> &rank : ranks)
    threads.emplace_back([&] {
      auto group = GroupControl::create(*rank);
      ASSERT_TRUE(group.isOk()) << group.status().message();
      body(**group);
      // Nobody leaves while others still wake.
      EXPECT_TRUE(rank->barrier().isOk());
    });
  for (std::thread &thread : threads)
    thread.join();
}

namespace {
/// A word that one rank signals and the other one waits for.
struct Flag {
  std::atomic<uint64_t> word{0};
  bool has(uint64_t value) const { return word.load() >= value; }
};
} // namespace

/// Two ranks by turns: a single wake that is lost ends a sleep by time.
TEST(GroupSleep, SignalsWake) {
  Flag flags[2];
  runRanks(2, [&](GroupControl &group) {
    int me = group.rank(), other = 1 - me;
    for (uint64_t round = 1; round <= 2000; ++round) {
      auto wakeOther = [&] {
        flags[other].word = round;
        group.wakeSleepers([&](int rank, const AwaitedFlag &awaited) {
          EXPECT_EQ(rank, other);
          return flags[other].has(awaited.value);
        });
      };
      if (me == 0)
        wakeOther();
      while (!flags[me].has(round))
        ASSERT_TRUE(group.sleep(
            other, {0, round}, [&] { return flags[me].has(round); },
            kForeverNs));
      if (me == 1)
        wakeOther();
    }
  });
}

/// Who waits for a later signal sleeps on, and is found again when that comes.
TEST(GroupSleep, OtherSignalsDoNotWake) {
  Flag flag;
  std::atomic<int> ended{0};
  runRanks(2, [&](GroupControl &group) {
    if (group.rank() == 0) {
      EXPECT_TRUE(
          group.sleep(1, {24, 2}, [&] { return flag.has(2); }, kForeverNs));
      ++ended;
      return;
    }
    flag.word = 1;
    for (int seen = 0; seen < 3;)
      group.wakeSleepers([&](int rank, const AwaitedFlag &awaited) {
        EXPECT_EQ(rank, 0);
        EXPECT_EQ(awaited.offset, 24u);
        EXPECT_EQ(awaited.value, 2u);
        ++seen;
        return flag.has(awaited.value);
      });
    EXPECT_EQ(ended, 0);
    flag.word = 2;
    group.wakeSleepers([&](int, const AwaitedFlag &awaited) {
      return flag.has(awaited.value);
    });
  });
  EXPECT_EQ(ended, 1);
}

/// More ranks than marks: all of them are found.
TEST(GroupSleep, RanksShareMarks) {
  Flag flag;
  std::atomic<int> woken{0};
  constexpr int size = 130;
  runRanks(size, [&](GroupControl &group) {
    if (group.rank() != 0) {
      woken += group.sleep(0, {0, 1}, [&] { return flag.has(1); }, kForeverNs);
      return;
    }
    // Until some sleep; the others see the flag.
    for (int seen = 0; seen < size / 2;) {
      seen = 0;
      group.wakeSleepers([&](int, const AwaitedFlag &) {
        ++seen;
        return false;
      });
    }
    flag.word = 1;
    group.wakeSleepers([](int, const AwaitedFlag &) { return true; });
  });
  EXPECT_EQ(woken, size - 1);
}

TEST(GroupSleep, ErrorsWake) {
  runRanks(3, [&](GroupControl &group) {
    if (group.rank() != 1) {
      EXPECT_TRUE(group.sleep(1, {0, 1}, [] { return false; }, kForeverNs));
      EXPECT_EQ(group.originRank(), 1);
      return;
    }
    bool isAsleep = false;
    while (!isAsleep)
      group.wakeSleepers([&](int, const AwaitedFlag &) {
        isAsleep = true;
        return false;
      });
    Status error(MOERT_INVALID_COUNT, "rank 1: wrong");
    group.raise(error);
  });
}

TEST(GroupSleep, EndsByItself) {
  runRanks(2, [](GroupControl &group) {
    EXPECT_FALSE(
        group.sleep(1 - group.rank(), {0, 1}, [] { return false; }, 1000000));
  });
}

/// A look at some is one at everybody after a while.
TEST(GroupWatch, LooksGoRound) {
  constexpr int size = 40, odd = 29;
  std::atomic<int> begun{0};
  runRanks(size, [&](GroupControl &group) {
    bool isOdd = group.rank() == odd;
    group.beginGroupOp(
        {GroupOp::Call, isOdd ? 2u : 1u, isOdd ? "odd" : "even", Status::ok()});
    ++begun;
    while (begun < size)
      std::this_thread::yield();
    int next = 3, looks = 0;
    int awaited = isOdd ? 0 : (group.rank() + 1) % size;
    Status found;
    for (; found.isOk() && looks < GroupControl::looksPerRound; ++looks)
      found = group.checkSome(awaited, next);
    EXPECT_EQ(found.code(), MOERT_COLLECTIVE_MISMATCH);
    // The awaited rank is among those that each look is at.
    if (isOdd || awaited == odd) {
      EXPECT_EQ(looks, 1);
    }
  });
}

TEST(GroupWatch, SameCollective) {
  std::atomic<int> step{0};
  runRanks(2, [&](GroupControl &group) {
    int me = group.rank(), other = 1 - me;
    auto meet = [&](int number) {
      ++step;
      while (step < 2 * number)
        std::this_thread::yield();
    };
    group.beginGroupOp({GroupOp::Call, 1, "a call", Status::ok()});
    if (me == 0)
      group.beginCollective("moe.dispatch", "a.mlir:1:1", 7, 1);
    meet(1);
    if (me == 0) {
      EXPECT_FALSE(group.isInSameCollective(other));
    }
    meet(2);
    if (me == 1)
      group.beginCollective("moe.dispatch", "a.mlir:1:1", 7, 1);
    meet(3);
    EXPECT_TRUE(group.isInSameCollective(other));
    meet(4);
    group.beginCollective("moe.combine", "a.mlir:2:1", 8 + me, 1);
    meet(5);
    EXPECT_FALSE(group.isInSameCollective(other));
  });
}
