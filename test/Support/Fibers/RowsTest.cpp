//===- RowsTest.cpp - rows that kernels copy ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FibersTest.h"

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
