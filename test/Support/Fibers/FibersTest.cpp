//===- FibersTest.cpp - what fibers find in broken kernels ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Kernels written by hand, each right or with one mistake, under many seeds. A
/// mistake has to be found under some of them; a kernel that is right passes
/// under all.
///
//===----------------------------------------------------------------------===//

#include "moe-runtime/ArtifactABI.h"
#include "gtest/gtest.h"

#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using Kernel = void (*)(void *, void *, int64_t, int64_t, int64_t, int64_t);

extern "C" {
void moe_fiber_launch(Kernel, void *, int64_t, int64_t, int64_t);
void moe_fiber_barrier(int64_t);
void moe_fiber_sync_subgroup(int64_t);
int64_t moe_fiber_shuffle(int64_t, int64_t, int64_t);
int64_t moe_fiber_ballot(int64_t, int64_t);
int64_t moe_fiber_sum(int64_t, int64_t);
int64_t moe_fiber_grid_barrier(int64_t);
void moe_fiber_post(uint64_t *, uint64_t, uint64_t);
uint64_t moe_fiber_collect(int64_t, const uint64_t *, uint64_t, const char *);
int64_t moe_fiber_take(int64_t *);
uint64_t moe_fiber_wait(int64_t, const uint64_t *, uint64_t, int64_t,
                        const char *);
void moe_fiber_pause();
void moe_fiber_record(int64_t, const char *, const char *, int64_t, int64_t,
                      int64_t, int64_t, int64_t, int64_t);
void moe_fiber_put_each(int64_t, const char *, char *, int64_t, int64_t,
                        int64_t, int64_t, int64_t, int64_t);
void moe_fiber_put_stage(int64_t, const char *, char *, int64_t, int64_t);
void moe_fiber_put_wait(int64_t, int64_t, int64_t);
void moe_fiber_stage_init(uint64_t *, int64_t, int64_t);
void moe_fiber_stage_expect(uint64_t *, int64_t);
void moe_fiber_stage_arrive(uint64_t *);
void moe_fiber_stage_wait(uint64_t *, int64_t);
void moe_fiber_fetch(char *, const char *, int64_t, uint64_t *);
}

//===----------------------------------------------------------------------===//
// A runtime of one rank
//===----------------------------------------------------------------------===//

namespace {

constexpr int64_t kThreads = 64, kBlocks = 3, kRuns = 200;
/// Of a row.
constexpr int64_t kBytes = 256;
constexpr int64_t kSharedBytes = 1024 + 128;

/// What kernels of the tests work on.
struct Memory {
  alignas(16) char rows[8][kBytes];
  alignas(16) char out[8][kBytes];
  int64_t sums[kBlocks * kThreads];
  uint64_t flag;
  uint64_t words[kBlocks];
  int64_t missed, ended, counter;
};

/// How many of many runs of a kernel ended in which way.
struct Outcome {
  int64_t right = 0, wrong = 0, rejected = 0, other = 0;
};

} // namespace

static jmp_buf callExit;
static int64_t failCode;
static std::string failWhat;

extern "C" int64_t moert_rank() { return 0; }
extern "C" void moert_phase(const char *) {}
extern "C" void moert_fail(int64_t code, const char *what, int64_t, int64_t,
                           int64_t, int64_t, int64_t, int64_t) {
  failCode = code;
  failWhat = what;
  _longjmp(callExit, 1);
}
/// Whoever asks has waited in vain for long.
extern "C" void moert_wait(const uint64_t *flag, uint64_t value, int64_t peer) {
  if (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < value)
    moert_fail(MOERT_TIMEOUT, "signal", int64_t(value), int64_t(value),
               int64_t(*flag), peer, -1, -1);
}

/// Runs `kernel` once; returns the code of its error.
static int64_t runOnce(Kernel kernel, Memory &memory) {
  failCode = MOERT_OK;
  if (_setjmp(callExit) == 0)
    moe_fiber_launch(kernel, &memory, kBlocks, kThreads, kSharedBytes);
  return failCode;
}

static Outcome runMany(Kernel kernel, bool (*isRight)(const Memory &),
                       int64_t runs = kRuns) {
  static Memory memory;
  Outcome outcome;
  for (int64_t run = 0; run < runs; ++run) {
    memset(&memory, 0, sizeof(memory));
    for (int64_t i = 0; i < 8; ++i)
      memset(memory.rows[i], int(i + 1), kBytes);
    int64_t code = runOnce(kernel, memory);
    if (code == MOERT_INTERNAL)
      ++outcome.rejected;
    else if (code != MOERT_OK)
      ++outcome.other;
    else
      ++(isRight(memory) ? outcome.right : outcome.wrong);
  }
  return outcome;
}

/// A kernel that is right.
#define EXPECT_RIGHT(outcome) EXPECT_EQ((outcome).right, kRuns)

static bool isAll(const char (&row)[kBytes], char value) {
  for (char byte : row)
    if (byte != value)
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Blocks, subgroups and grids
//===----------------------------------------------------------------------===//

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

static bool areToldAll(const Memory &memory) {
  for (int64_t sum : memory.sums)
    if (sum != 42 && sum != 0) // 0: a block that did not run
      return false;
  return memory.sums[0] == 42;
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

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Both subgroups of the first block copy row 2 to the rows that lanes 0 and 2
/// name.
static void putEach(void *captures, void *, int64_t block, int64_t thread,
                    int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  int64_t lane = thread % 32;
  if (block == 0)
    moe_fiber_put_each(0, memory->rows[2],
                       lane % 2 == 0 && lane < 4 ? memory->out[lane] : nullptr,
                       kBytes, 3, thread % 3, thread / 32, 2, 0);
}

TEST(Fibers, PutEach) {
  EXPECT_RIGHT(runMany(putEach, [](const Memory &memory) {
    return isAll(memory.out[0], 3) && isAll(memory.out[1], 0) &&
           isAll(memory.out[2], 3) && isAll(memory.out[3], 0);
  }));
}

/// What to leave out of `copyInBulk`.
enum Mistake { None, NoFullWait, NoReadWait, NoPutWait, NoInit };

/// Rows 0 .. 7 through a ring of two stages, by the first subgroup.
template <Mistake mistake>
static void copyInBulk(void *captures, void *shared, int64_t block,
                       int64_t thread, int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  auto *full = static_cast<uint64_t *>(shared);
  char *ring = static_cast<char *>(shared) + 128;
  if (thread == 0)
    moe_fiber_stage_init(full, 2, 1);
  if (mistake != NoInit)
    moe_fiber_barrier(0);
  if (thread >= 32 || block > 0)
    return;
  auto fetch = [&](int64_t row) {
    if (thread != (mistake == NoInit ? 1 : 0))
      return;
    moe_fiber_stage_expect(full + row % 2, kBytes);
    moe_fiber_fetch(ring + row % 2 * kBytes, memory->rows[row], kBytes,
                    full + row % 2);
  };
  fetch(0);
  for (int64_t row = 0; row < 8; ++row) {
    if (mistake != NoFullWait)
      moe_fiber_stage_wait(full + row % 2, row / 2 % 2);
    moe_fiber_put_stage(1, ring + row % 2 * kBytes,
                        thread == 1 ? memory->out[row] : nullptr, kBytes, 2);
    if (mistake != NoReadWait)
      moe_fiber_put_wait(2, 1, 1);
    if (row + 1 < 8)
      fetch(row + 1);
  }
  if (mistake != NoPutWait)
    moe_fiber_put_wait(3, 0, 0);
}

static bool areCopied(const Memory &memory) {
  for (int64_t row = 0; row < 8; ++row)
    if (!isAll(memory.out[row], char(row + 1)))
      return false;
  return true;
}

TEST(Fibers, BulkCopies) {
  EXPECT_RIGHT(runMany(copyInBulk<None>, areCopied));
  for (Kernel broken : {copyInBulk<NoFullWait>, copyInBulk<NoReadWait>,
                        copyInBulk<NoPutWait>, copyInBulk<NoInit>}) {
    Outcome outcome = runMany(broken, areCopied);
    EXPECT_GT(outcome.wrong + outcome.rejected, kRuns / 8);
  }
}

static void misaligned(void *captures, void *shared, int64_t, int64_t thread,
                       int64_t, int64_t) {
  auto *memory = static_cast<Memory *>(captures);
  moe_fiber_put_stage(0, static_cast<char *>(shared),
                      thread == 0 ? memory->out[0] + 8 : nullptr, 16, 1);
  moe_fiber_put_wait(1, 0, 0);
}

TEST(Fibers, Alignment) {
  auto any = [](const Memory &) { return true; };
  EXPECT_EQ(runMany(misaligned, any).rejected, kRuns);
}

//===----------------------------------------------------------------------===//
// Signals and errors
//===----------------------------------------------------------------------===//

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

int main(int argc, char **argv) {
  setenv("MOE_FIBER_SEED", "1", /*overwrite=*/0);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
