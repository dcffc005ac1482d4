//===- DeviceArenaTest.cpp - tests of device memory, without a device -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CUDA/DeviceArena.h"

#include <cstdint>
#include <gtest/gtest.h>
#include <random>
#include <set>

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {
/// Addresses that nobody reads or writes, from a device of `limit` bytes.
class FakeDevice {
public:
  explicit FakeDevice(size_t limit = size_t(1) << 40) : limit(limit) {}

  DeviceArena::Source source() {
    return {[this](size_t bytes) -> char * {
              if (mapped + bytes > limit)
                return nullptr;
              mapped += bytes;
              char *address = reinterpret_cast<char *>(next);
              // Chunks touch, and yet are different mappings.
              next += bytes;
              chunks.insert({address, bytes});
              return address;
            },
            [this](char *address, size_t bytes) {
              EXPECT_EQ(chunks.erase({address, bytes}), 1u);
              mapped -= bytes;
            },
            [this] {
              ++settled;
              return isSettling;
            },
            size_t(2) << 20};
  }

  size_t limit;
  size_t mapped = 0;
  int settled = 0;
  bool isSettling = true;
  uintptr_t next = uintptr_t(1) << 40;
  std::set<std::pair<char *, size_t>> chunks;
};
} // namespace

static const int streamA = 0;

TEST(DeviceArenaTest, ChunksGoBackWhenWorkIsDone) {
  FakeDevice device;
  {
    DeviceArena arena(device.source());
    ASSERT_NE(arena.allocate(100, 64), nullptr);
    EXPECT_EQ(device.settled, 0);
  }
  EXPECT_EQ(device.settled, 1);
  EXPECT_TRUE(device.chunks.empty());
  {
    DeviceArena unused(device.source());
  }
  EXPECT_EQ(device.settled, 1);
  device.isSettling = false;
  {
    DeviceArena arena(device.source());
    ASSERT_NE(arena.allocate(100, 64), nullptr);
  }
  // Nobody knows whether something uses it.
  EXPECT_EQ(device.chunks.size(), 1u);
}

TEST(DeviceArenaTest, AlignmentAndNonsense) {
  FakeDevice device;
  DeviceArena arena(device.source());
  for (int64_t alignment : {1, 16, 256, 4096, 1 << 21})
    for (int64_t bytes : {0, 1, 255, 4096, 40 << 20}) {
      void *ptr = arena.allocate(bytes, alignment);
      ASSERT_NE(ptr, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(ptr) % alignment, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(ptr) % 256, 0u);
      EXPECT_TRUE(arena.free(ptr));
      EXPECT_FALSE(arena.free(ptr));
    }
  EXPECT_EQ(arena.allocate(-1, 8), nullptr);
  EXPECT_EQ(arena.allocate(8, 24), nullptr);
  EXPECT_EQ(arena.allocate(INT64_MAX, 8), nullptr);
  EXPECT_EQ(arena.allocate(int64_t(1) << 60, 8), nullptr);
  EXPECT_TRUE(arena.free(nullptr));
  EXPECT_EQ(arena.stats().liveBytes, 0u);
}

TEST(DeviceArenaTest, FreedMemoryServesTheSameStreamAtOnce) {
  FakeDevice device;
  DeviceArena arena(device.source());
  arena.setUser({&streamA, 0});
  void *first = arena.allocate(1 << 20, 256);
  EXPECT_TRUE(arena.free(first));
  EXPECT_EQ(arena.allocate(1 << 20, 256), first);
  EXPECT_TRUE(arena.free(first));
  // But no other stream, and no capture of the same one.
  char other;
  arena.setUser({&other, 0});
  EXPECT_NE(arena.allocate(1 << 20, 256), first);
  arena.setUser({&streamA, 7});
  void *captured = arena.allocate(1 << 20, 256);
  EXPECT_NE(captured, first);
  // Within the capture the order is that of the graph.
  EXPECT_TRUE(arena.free(captured));
  EXPECT_EQ(arena.allocate(1 << 20, 256), captured);
  EXPECT_TRUE(arena.free(captured));
  arena.setUser({&streamA, 8});
  EXPECT_NE(arena.allocate(1 << 20, 256), captured);
  arena.setUser({&streamA, 0});
  EXPECT_EQ(arena.allocate(1 << 20, 256), first);
}

TEST(DeviceArenaTest, BlockGoesBackToTheStreamItIsFrom) {
  FakeDevice device;
  DeviceArena arena(device.source());
  arena.setUser({&streamA, 0});
  void *ptr = arena.allocate(4096, 256);
  char other;
  arena.setUser({&other, 0});
  EXPECT_TRUE(arena.free(ptr));
  EXPECT_NE(arena.allocate(4096, 256), ptr);
  arena.setUser({&streamA, 0});
  EXPECT_EQ(arena.allocate(4096, 256), ptr);
}

TEST(DeviceArenaTest, EndOfCallFreesWhatWasNotKept) {
  FakeDevice device;
  DeviceArena arena(device.source());
  void *kept = arena.allocate(100, 8);
  ASSERT_NE(arena.allocate(100, 8), nullptr);
  EXPECT_TRUE(arena.keep(kept));
  EXPECT_TRUE(arena.keep(kept));
  EXPECT_FALSE(arena.keep(&arena));
  arena.endCall();
  EXPECT_EQ(arena.stats().liveBlocks, 1u);
  EXPECT_TRUE(arena.free(kept));
  EXPECT_TRUE(arena.free(kept));
  EXPECT_EQ(arena.stats().liveBlocks, 0u);
}

TEST(DeviceArenaTest, SameCallsNeedNoNewMemory) {
  FakeDevice device;
  DeviceArena arena(device.source());
  size_t after = 0;
  for (int call = 0; call < 20; ++call) {
    std::vector<void *> blocks;
    for (int64_t bytes : {300, 20 << 20, 5000, 1 << 20, 33 << 20, 7})
      blocks.push_back(arena.allocate(bytes, 256));
    for (size_t i : {3, 0, 5})
      EXPECT_TRUE(arena.free(blocks[i]));
    arena.endCall();
    if (call == 0)
      after = arena.stats().mappedBlocks;
  }
  EXPECT_EQ(arena.stats().mappedBlocks, after);
}

TEST(DeviceArenaTest, DeviceThatIsFull) {
  FakeDevice device(size_t(6) << 20);
  DeviceArena arena(device.source());
  // Less than the usual chunk is left.
  EXPECT_NE(arena.allocate(3 << 20, 256), nullptr);
  EXPECT_EQ(arena.allocate(3 << 20, 256), nullptr);
  EXPECT_NE(arena.allocate(1 << 20, 256), nullptr);
}

TEST(DeviceArenaTest, MemoryGoesBackAtTheEndUnlessAbandoned) {
  FakeDevice device;
  {
    DeviceArena arena(device.source());
    (void)arena.allocate(40 << 20, 256);
    (void)arena.allocate(1, 256);
    EXPECT_FALSE(device.chunks.empty());
  }
  EXPECT_TRUE(device.chunks.empty());
  {
    DeviceArena arena(device.source());
    (void)arena.allocate(1, 256);
    arena.abandon();
  }
  EXPECT_EQ(device.chunks.size(), 1u);
}

/// Live blocks never overlap, stay within one chunk, and all memory is free
/// in whole chunks at the end.
TEST(DeviceArenaTest, RandomRequests) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  FakeDevice device;
  DeviceArena arena(device.source());
  std::map<char *, size_t> live;
  for (int step = 0; step < 5000; ++step) {
    if (live.empty() || random() % 5 < 3) {
      size_t bytes = size_t(1) << (random() % 25);
      bytes += random() % bytes;
      auto *ptr = static_cast<char *>(
          arena.allocate(int64_t(bytes), int64_t(1) << (random() % 14)));
      ASSERT_NE(ptr, nullptr);
      auto next = live.lower_bound(ptr);
      ASSERT_TRUE(next == live.end() || ptr + bytes <= next->first);
      if (next != live.begin()) {
        auto before = std::prev(next);
        ASSERT_LE(before->first + before->second, ptr);
      }
      auto chunk = device.chunks.upper_bound({ptr, SIZE_MAX});
      ASSERT_NE(chunk, device.chunks.begin());
      --chunk;
      ASSERT_LE(ptr + bytes, chunk->first + chunk->second);
      live.emplace(ptr, bytes);
    } else {
      auto it = std::next(live.begin(), random() % live.size());
      ASSERT_TRUE(arena.free(it->first));
      live.erase(it);
    }
  }
  for (auto &[ptr, bytes] : live)
    ASSERT_TRUE(arena.free(ptr));
  EXPECT_EQ(arena.stats().liveBytes, 0u);
  EXPECT_EQ(arena.stats().cachedBytes, device.mapped);
}
