//===- FibersTest.h - kernels on a runtime of one rank ----------*- C++ -*-===//
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

#ifndef MOE_TEST_SUPPORT_FIBERS_FIBERSTEST_H
#define MOE_TEST_SUPPORT_FIBERS_FIBERSTEST_H

#include "moe-runtime/ArtifactABI.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <cstring>
#include <string>

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

inline constexpr int64_t kThreads = 64, kBlocks = 3, kRuns = 200;
/// Of a row.
inline constexpr int64_t kBytes = 256;
inline constexpr int64_t kSharedBytes = 1024 + 128;

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

/// What the last error was about.
extern std::string failWhat;
/// Runs `kernel` once; returns the code of its error.
int64_t runOnce(Kernel kernel, Memory &memory);
/// Runs `kernel` many times, each under another schedule.
Outcome runMany(Kernel kernel, bool (*isRight)(const Memory &),
                int64_t runs = kRuns);

/// A kernel that is right.
#define EXPECT_RIGHT(outcome) EXPECT_EQ((outcome).right, kRuns)

inline bool isAll(const char (&row)[kBytes], char value) {
  for (char byte : row)
    if (byte != value)
      return false;
  return true;
}

inline bool areToldAll(const Memory &memory) {
  for (int64_t sum : memory.sums)
    if (sum != 42 && sum != 0) // 0: a block that did not run
      return false;
  return memory.sums[0] == 42;
}

#endif // MOE_TEST_SUPPORT_FIBERS_FIBERSTEST_H
