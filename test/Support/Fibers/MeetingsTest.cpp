//===- MeetingsTest.cpp - blocks, subgroups and grids ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FibersTest.h"

/// Thread 0 stores a number that all others read.
template <bool hasBarrier>
static void tellBlock(void *captures, void *shared, int64_t block,
                      int64_t thread, int64_t, int64_t threads) {
  auto *word = static_cast<int64_t *>(shared);
  if (thread == 0)
    *word = 42 + block;
  if (hasBarrier)
    moe_fiber_barrier(0);
  static_cast<Memory *>(captures)->sums[block * threads + thread] =
      *word - block;
}

TEST(Fibers, BarrierOfABlock) {
  EXPECT_RIGHT(runMany(tellBlock<true>, areToldAll));
  Outcome without = runMany(tellBlock<false>, areToldAll);
  EXPECT_GT(without.wrong, kRuns / 2);
}

static void exchange(void *captures, void *, int64_t block, int64_t thread,
                     int64_t, int64_t threads) {
  int64_t lane = thread % 32;
  int64_t next = moe_fiber_shuffle(0, lane, (lane + 1) % 32);
  int64_t odd = moe_fiber_ballot(1, lane & 1);
  int64_t sum = moe_fiber_sum(2, lane);
  bool isRight = next == (lane + 1) % 32 && odd == 0xaaaaaaaa && sum == 496;
  static_cast<Memory *>(captures)->sums[block * threads + thread] =
      isRight ? 42 : 1;
}

TEST(Fibers, Subgroups) { EXPECT_RIGHT(runMany(exchange, areToldAll)); }

/// Some lanes meet elsewhere.
static void diverge(void *, void *, int64_t, int64_t thread, int64_t, int64_t) {
  if (thread % 32 < 5)
    moe_fiber_sync_subgroup(0);
  else
    moe_fiber_sync_subgroup(1);
}

/// One thread meets nobody.
static void leave(void *, void *, int64_t, int64_t thread, int64_t, int64_t) {
  if (thread != 7)
    moe_fiber_barrier(0);
}

TEST(Fibers, Divergence) {
  auto any = [](const Memory &) { return true; };
  EXPECT_EQ(runMany(diverge, any).rejected, kRuns);
  EXPECT_EQ(runMany(leave, any).rejected, kRuns);
}

template <bool hasBarrier>
static void tellGrid(void *captures, void *, int64_t block, int64_t thread,
                     int64_t blocks, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  if (block == blocks - 1 && thread == 3)
    memory->sums[0] = 42;
  if (hasBarrier)
    moe_fiber_grid_barrier(0);
  if (memory->sums[0] != 42)
    memory->sums[1] = 1;
}

TEST(Fibers, Grid) {
  auto isRight = [](const Memory &memory) { return memory.sums[1] == 0; };
  EXPECT_RIGHT(runMany(tellGrid<true>, isRight));
  EXPECT_GT(runMany(tellGrid<false>, isRight).wrong, 0);
}

/// Each block posts a value; all threads add up those of all blocks. Epochs
/// that differ by 2^32 look the same.
template <bool collects>
static void addUpPosts(void *captures, void *, int64_t block, int64_t thread,
                       int64_t blocks, int64_t threads) {
  auto *memory = static_cast<Memory *>(captures);
  constexpr uint64_t epoch = (uint64_t(1) << 32) + 7;
  if (thread == 1)
    moe_fiber_post(&memory->words[block], epoch, uint64_t(block + 1));
  uint64_t sum = 0;
  for (int64_t i = 0; i < blocks; ++i) {
    uint64_t word =
        collects ? moe_fiber_collect(0, &memory->words[i], epoch, "count")
                 : memory->words[i];
    sum += word & 0xffffffff;
    memory->missed += word >> 32 != 7;
  }
  memory->sums[block * threads + thread] = int64_t(sum);
  memory->missed += sum != uint64_t(blocks * (blocks + 1) / 2);
}

/// Two threads post the same word.
static void postTwice(void *captures, void *, int64_t, int64_t thread, int64_t,
                      int64_t) {
  if (thread < 2)
    moe_fiber_post(&static_cast<Memory *>(captures)->words[0], 7, 1);
}

TEST(Fibers, Posts) {
  auto isRight = [](const Memory &memory) { return memory.missed == 0; };
  EXPECT_RIGHT(runMany(addUpPosts<true>, isRight));
  EXPECT_GT(runMany(addUpPosts<false>, isRight).wrong, 0);
  EXPECT_EQ(runMany(postTwice, isRight).rejected, kRuns);
}

/// One block never posts: threads that wait for it are found stuck.
static void collectInVain(void *captures, void *, int64_t, int64_t, int64_t,
                          int64_t) {
  moe_fiber_collect(0, &static_cast<Memory *>(captures)->words[0], 3, "count");
}

/// A failed kernel runs to its end.
static void failAndCollect(void *captures, void *, int64_t block,
                           int64_t thread, int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  if (block == 0 && thread == 4)
    moe_fiber_record(MOERT_INVALID_COUNT, "rows", "count", 1, 1, 2, -1, -1, -1);
  moe_fiber_collect(0, &memory->words[0], 3, "count");
  ++memory->ended;
}

TEST(Fibers, PostsThatNeverCome) {
  Memory memory{};
  EXPECT_EQ(runOnce(collectInVain, memory), MOERT_INTERNAL);
  EXPECT_EQ(runOnce(failAndCollect, memory), MOERT_INVALID_COUNT);
  EXPECT_EQ(failWhat, "rows");
  EXPECT_GE(memory.ended, kThreads);
}

/// Each subgroup takes two numbers; without `isTake` in two steps each.
template <bool isTake>
static void takeNumbers(void *captures, void *, int64_t, int64_t thread,
                        int64_t blocks, int64_t threads) {
  auto *memory = static_cast<Memory *>(captures);
  memory->ended = 2 * blocks * threads / 32;
  if (thread % 32 != 0)
    return;
  for (int64_t i = 0; i < 2; ++i) {
    int64_t number;
    if (isTake) {
      number = moe_fiber_take(&memory->counter);
    } else {
      number = memory->counter;
      moe_fiber_pause();
      memory->counter = number + 1;
    }
    ++memory->sums[number];
  }
}

/// Each number once, and none left out.
TEST(Fibers, Take) {
  auto isRight = [](const Memory &memory) {
    for (int64_t number = 0; number < kBlocks * kThreads; ++number)
      if (memory.sums[number] != (number < memory.ended))
        return false;
    return memory.counter == memory.ended;
  };
  EXPECT_RIGHT(runMany(takeNumbers<true>, isRight));
  EXPECT_GT(runMany(takeNumbers<false>, isRight).wrong, 0);
}
