//===- ArenaTest.cpp - tests of the memory of generated code --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Arena.h"

#include <cstring>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

using namespace moe::rt;

TEST(ArenaTest, AlignmentAndSize) {
  Arena arena;
  for (int64_t alignment : {1, 8, 64, 4096, 1 << 16})
    for (int64_t bytes : {0, 1, 63, 4096, 1 << 20, (1 << 20) + 1}) {
      void *ptr = arena.allocate(bytes, alignment);
      ASSERT_NE(ptr, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(ptr) % alignment, 0u);
      std::memset(ptr, 0xab, bytes);
      EXPECT_TRUE(arena.free(ptr));
    }
  EXPECT_EQ(arena.stats().liveBlocks, 0u);
}

TEST(ArenaTest, RefusesNonsense) {
  Arena arena;
  EXPECT_EQ(arena.allocate(-1, 8), nullptr);
  EXPECT_EQ(arena.allocate(8, 0), nullptr);
  EXPECT_EQ(arena.allocate(8, 24), nullptr);
  EXPECT_EQ(arena.allocate(8, -8), nullptr);
  EXPECT_EQ(arena.allocate(int64_t(1) << 60, 8), nullptr);
  EXPECT_EQ(arena.allocate(INT64_MAX, 8), nullptr);
  int local = 0;
  EXPECT_FALSE(arena.free(&local));
  EXPECT_TRUE(arena.free(nullptr));
  void *ptr = arena.allocate(8, 8);
  EXPECT_TRUE(arena.free(ptr));
  EXPECT_FALSE(arena.free(ptr));
}

TEST(ArenaTest, EndOfCallFreesWhatWasNotKept) {
  Arena arena;
  void *kept = arena.allocate(100, 8);
  ASSERT_NE(arena.allocate(100, 8), nullptr);
  ASSERT_NE(arena.allocate(2 << 20, 8), nullptr);
  EXPECT_TRUE(arena.keep(kept));
  EXPECT_FALSE(arena.keep(&arena));
  arena.endCall();
  EXPECT_EQ(arena.stats().liveBlocks, 1u);
  std::memset(kept, 1, 100);
  EXPECT_TRUE(arena.free(kept));
  EXPECT_EQ(arena.stats().liveBlocks, 0u);
  EXPECT_EQ(arena.stats().liveBytes, 0u);
}

TEST(ArenaTest, BlockKeptTwiceIsFreedTwice) {
  Arena arena;
  void *ptr = arena.allocate(8, 8);
  EXPECT_TRUE(arena.keep(ptr));
  EXPECT_TRUE(arena.keep(ptr));
  arena.endCall();
  EXPECT_TRUE(arena.free(ptr));
  EXPECT_EQ(arena.stats().liveBlocks, 1u);
  EXPECT_TRUE(arena.free(ptr));
  EXPECT_EQ(arena.stats().liveBlocks, 0u);
}

TEST(ArenaTest, LargeBlocksServeTheNextCall) {
  Arena arena;
  for (int call = 0; call < 50; ++call) {
    void *a = arena.allocate(8 << 20, 64);
    void *b = arena.allocate(3 << 20, 64);
    ASSERT_TRUE(a && b);
    arena.free(a);
    arena.endCall();
  }
  EXPECT_EQ(arena.stats().mappedBlocks, 2u);
  EXPECT_GE(arena.stats().cachedBytes, size_t(11) << 20);
}

TEST(ArenaTest, UnusedBlocksGoBackAfterAWhile) {
  Arena arena;
  arena.free(arena.allocate(8 << 20, 64));
  for (uint64_t call = 0; call < Arena::maxIdleCalls; ++call) {
    arena.endCall();
    EXPECT_GE(arena.stats().cachedBytes, size_t(8) << 20);
  }
  arena.endCall();
  EXPECT_EQ(arena.stats().cachedBytes, 0u);
}

TEST(ArenaTest, SmallRequestsDoNotGetHugeBlocks) {
  Arena arena;
  arena.free(arena.allocate(64 << 20, 64));
  void *ptr = arena.allocate(2 << 20, 64);
  EXPECT_EQ(arena.stats().mappedBlocks, 2u);
  EXPECT_TRUE(arena.free(ptr));
}

TEST(ArenaTest, FreeingOnOtherThreads) {
  auto arena = std::make_shared<Arena>();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([arena] {
      for (int i = 0; i < 500; ++i) {
        auto *ptr = static_cast<char *>(arena->allocate(i * 4096, 64));
        ASSERT_NE(ptr, nullptr);
        ptr[0] = char(i);
        EXPECT_TRUE(arena->free(ptr));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(arena->stats().liveBlocks, 0u);
}
