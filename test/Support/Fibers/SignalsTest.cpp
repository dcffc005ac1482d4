//===- SignalsTest.cpp - signals and errors of kernels --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FibersTest.h"

static void signalAndWait(void *captures, void *, int64_t block, int64_t thread,
                          int64_t blocks, int64_t threads) {
  auto *memory = static_cast<Memory *>(captures);
  if (block == blocks - 1 && thread == 9) {
    memory->rows[0][0] = 42;
    moe_fiber_pause();
    __atomic_store_n(&memory->flag, 5, __ATOMIC_RELEASE);
    moe_fiber_pause();
  }
  moe_fiber_wait(0, &memory->flag, 5, 0, "put");
  memory->sums[block * threads + thread] = memory->rows[0][0];
}

/// What to leave out of `tellFirstBlock`.
enum Omission { Nothing, BlockBarrier, OtherWords };

/// Each block signals its own words, and the first block waits for all: then it
/// sees what every thread has stored.
template <Omission omission>
static void tellFirstBlock(void *captures, void *, int64_t block,
                           int64_t thread, int64_t blocks, int64_t threads) {
  auto *memory = static_cast<Memory *>(captures);
  memory->sums[block * threads + thread] = 42;
  if (omission != BlockBarrier)
    moe_fiber_barrier(0);
  if (thread == 0)
    for (int64_t word = block; word < kBlocks; word += blocks) {
      moe_fiber_pause();
      __atomic_store_n(&memory->words[word], 5, __ATOMIC_RELEASE);
      moe_fiber_pause();
    }
  if (block != 0)
    return;
  if (thread < (omission == OtherWords ? 1 : kBlocks))
    moe_fiber_wait(0, &memory->words[thread], 5, 0, "complete");
  moe_fiber_barrier(1);
  if (thread == 0)
    for (int64_t i = 0; i < blocks * threads; ++i)
      memory->missed += memory->sums[i] != 42;
}

TEST(Fibers, EndOfAGrid) {
  auto isRight = [](const Memory &memory) { return memory.missed == 0; };
  EXPECT_RIGHT(runMany(tellFirstBlock<Nothing>, isRight));
  EXPECT_GT(runMany(tellFirstBlock<BlockBarrier>, isRight).wrong, 0);
  EXPECT_GT(runMany(tellFirstBlock<OtherWords>, isRight).wrong, 0);
}

static void waitInVain(void *captures, void *, int64_t, int64_t, int64_t,
                       int64_t) {
  moe_fiber_wait(0, &static_cast<Memory *>(captures)->flag, 5, 0, "put");
}

/// A failed kernel runs to its end.
static void failAndWait(void *captures, void *, int64_t block, int64_t thread,
                        int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  if (block == 0 && thread == 4)
    moe_fiber_record(MOERT_INVALID_COUNT, "rows", "count", 1, 1, 2, -1, -1, -1);
  moe_fiber_wait(0, &memory->flag, 5, 0, "put");
  ++memory->ended;
}

TEST(Fibers, Signals) {
  EXPECT_RIGHT(runMany(signalAndWait, areToldAll));
  Memory memory{};
  EXPECT_EQ(runOnce(waitInVain, memory), MOERT_TIMEOUT);
  EXPECT_EQ(runOnce(failAndWait, memory), MOERT_INVALID_COUNT);
  EXPECT_EQ(failWhat, "rows");
  EXPECT_GE(memory.ended, kThreads);
}

/// Puts a row when a signal or all blocks are there, or in any case.
template <bool looks, bool coherent = false>
static void putAfterWaits(void *captures, void *, int64_t block, int64_t thread,
                          int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  if (thread >= 32)
    return;
  bool isThere = moe_fiber_wait(0, &memory->flag, 5, 0, "put") >= 5;
  isThere = moe_fiber_ballot(0, !isThere) == 0;
  char *target =
      thread == 0 && (isThere || !looks) ? memory->out[block] : nullptr;
  moe_fiber_put_each(1, memory->rows[0], target, kBytes, 1, 0, 0, 1, coherent);
}

template <bool looks>
static void putAfterMeeting(void *captures, void *, int64_t block,
                            int64_t thread, int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  if (block == 0 && thread == 4)
    moe_fiber_record(MOERT_INVALID_COUNT, "rows", "count", 1, 1, 2, -1, -1, -1);
  bool haveMet = moe_fiber_grid_barrier(0);
  char *target =
      thread % 32 == 0 && (haveMet || !looks) ? memory->out[block] : nullptr;
  moe_fiber_put_each(1, memory->rows[0], target, kBytes, 1, 0, 0, 1, 0);
}

/// Puts a row when all blocks have posted, or in any case.
template <bool looks>
static void putAfterPosts(void *captures, void *, int64_t block, int64_t thread,
                          int64_t blocks, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  if (thread >= 32)
    return;
  if (thread == 0)
    moe_fiber_post(&memory->words[block], 5, 1);
  uint64_t word =
      moe_fiber_collect(0, &memory->words[thread % blocks], 5, "count");
  bool isThere = moe_fiber_ballot(0, word >> 32 != 5) == 0;
  char *target =
      thread == 0 && (isThere || !looks) ? memory->out[block] : nullptr;
  moe_fiber_put_each(1, memory->rows[0], target, kBytes, 1, 0, 0, 1, 0);
}

/// Where the second subgroup of a block waits while the first one puts rows.
enum Place { Before, After, AfterAndMeets };

/// In the text of the kernel; only `AfterAndMeets` makes the first subgroup
/// wait for the second one, between its two rows. Rows that have come from
/// others go on.
template <Place place, bool coherent = false>
static void putBesideWaits(void *captures, void *, int64_t block,
                           int64_t thread, int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  constexpr int64_t waitSite = place == Before ? 0 : 2;
  for (int64_t row = 0; row < 2; ++row) {
    if (thread >= 32)
      moe_fiber_wait(waitSite, &memory->flag, 5, 0, "put");
    else
      moe_fiber_put_each(1, memory->rows[row],
                         thread == 0 ? memory->out[2 * block + row] : nullptr,
                         kBytes, 1, 0, 0, 1, coherent);
    if (place == AfterAndMeets)
      moe_fiber_barrier(3);
  }
}

/// A kernel that puts rows after a wait has ended in vain is found out. A wait
/// that gates no row lets others of its block go on, until they know of it.
TEST(Fibers, WaitsInVain) {
  auto isRight = [](const Memory &) { return true; };
  setenv("MOE_FIBER_LATE", "1", /*overwrite=*/1);
  EXPECT_EQ(runMany(putAfterWaits<true>, isRight).other, kRuns);
  EXPECT_GT(runMany(putAfterWaits<false>, isRight).rejected, 0);
  auto copyAfterWaits = putAfterWaits</*looks=*/false, /*coherent=*/true>;
  EXPECT_GT(runMany(copyAfterWaits, isRight).rejected, 0);
  Outcome posts = runMany(putAfterPosts<true>, isRight);
  EXPECT_EQ(posts.rejected, 0);
  EXPECT_GT(posts.other, 0);
  EXPECT_GT(runMany(putAfterPosts<false>, isRight).rejected, 0);
  // Waits that do not end at once take their time.
  constexpr int64_t fewRuns = kRuns / 10;
  EXPECT_GT(runMany(putBesideWaits<Before>, isRight, fewRuns).rejected, 0);
  EXPECT_EQ(runMany(putBesideWaits<After>, isRight, fewRuns).other, fewRuns);
  auto copyBesideWaits = putBesideWaits<Before, /*coherent=*/true>;
  EXPECT_EQ(runMany(copyBesideWaits, isRight, fewRuns).other, fewRuns);
  EXPECT_GT(runMany(putBesideWaits<AfterAndMeets>, isRight, fewRuns).rejected,
            0);
  unsetenv("MOE_FIBER_LATE");
  EXPECT_EQ(runMany(putAfterMeeting<true>, isRight).other, kRuns);
  EXPECT_GT(runMany(putAfterMeeting<false>, isRight).rejected, 0);
}
