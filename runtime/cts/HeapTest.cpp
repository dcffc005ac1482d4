//===- HeapTest.cpp - conformance: symmetric memory -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Group.h"

#include <numeric>

using namespace moe::rt;
using namespace moe::rt::cts;

INSTANTIATE_TEST_SUITE_P(Heap, GroupTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

static std::vector<uint64_t> read(Context &context, const void *symm,
                                  size_t count) {
  std::vector<uint64_t> values(count);
  EXPECT_TRUE(context.device().copyOut(values.data(), symm, count * 8).isOk());
  return values;
}

static void write(Context &context, void *symm,
                  const std::vector<uint64_t> &values) {
  EXPECT_TRUE(
      context.device().copyIn(symm, values.data(), values.size() * 8).isOk());
}

/// Every rank writes to its place in every slice; all see all of it.
static void writeEverywhere(Context &context) {
  int rank = context.rank(), size = context.size();
  auto block = context.symmAlloc(size * 8);
  ASSERT_OK(block.status());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(*block) % 256, 0u);
  EXPECT_EQ(read(context, *block, size), std::vector<uint64_t>(size, 0));
  ASSERT_OK(context.boot().barrier());
  for (int peer = 0; peer < size; ++peer) {
    char *theirs = context.heap().peer(*block, peer);
    EXPECT_EQ(theirs, *block + (peer - rank) * context.heap().stride());
    write(context, theirs + rank * 8, {uint64_t(100 * rank + peer + 1)});
  }
  ASSERT_OK(context.boot().barrier());
  for (int peer = 0; peer < size; ++peer) {
    auto seen = read(context, context.heap().peer(*block, peer), size);
    for (int r = 0; r < size; ++r)
      EXPECT_EQ(seen[r], uint64_t(100 * r + peer + 1));
  }
  ASSERT_OK(context.boot().barrier());
  ASSERT_OK(context.symmFree(*block));
}

TEST_P(GroupTest, PeerAddressIsArithmetic) {
  for (int size : {1, 2, 3, 8})
    runGroup(GetParam(), size, writeEverywhere);
}

TEST_P(GroupTest, HeapGrowsAndReusesZeroed) {
  runGroup(GetParam(), 3, [](Context &context) {
    // Neither the sizes nor the order of release are tidy.
    std::vector<char *> blocks;
    for (size_t bytes : {1, 300, 5 << 20, 64, 3 << 20, 0}) {
      auto block = context.symmAlloc(bytes);
      ASSERT_OK(block.status());
      for (size_t at = 0; at + 8 <= bytes; at += 4096) {
        EXPECT_EQ(read(context, *block + at, 1)[0], 0u);
        write(context, *block + at, {~uint64_t(0)});
      }
      for (char *other : blocks)
        EXPECT_NE(other, *block);
      blocks.push_back(*block);
    }
    size_t committed = context.heap().committedBytes();
    EXPECT_GE(committed, size_t(8) << 20);
    for (size_t i : {1, 4, 2, 0, 5, 3})
      ASSERT_OK(context.symmFree(blocks[i]));
    EXPECT_EQ(context.heap().usedBytes(), 0u);
    // All free memory is one span again, and zero when given out.
    auto whole = context.symmAlloc(committed);
    ASSERT_OK(whole.status());
    EXPECT_EQ(context.heap().committedBytes(), committed);
    for (size_t at = 0; at < committed; at += 64)
      ASSERT_EQ(read(context, *whole + at, 1)[0], 0u) << at;
  });
}

TEST_P(GroupTest, TooMuchIsAnErrorAndTheGroupGoesOn) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto block = context.symmAlloc(size_t(1) << 40);
    ASSERT_FALSE(block.isOk());
    EXPECT_EQ(block.status().code(), MOERT_OUT_OF_MEMORY);
    EXPECT_NE(block.status().message().find("1099511627776 bytes"),
              std::string::npos)
        << block.status().message();
    ASSERT_OK(context.symmAlloc(64).status());
  });
}

TEST_P(GroupTest, DifferentSizesAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 3, [](Context &context) {
    auto block = context.symmAlloc(context.rank() == 1 ? 64 : 128);
    ASSERT_FALSE(block.isOk());
    EXPECT_EQ(block.status().code(), MOERT_COLLECTIVE_MISMATCH);
    for (const char *part : {"64 bytes", "128 bytes", "rank 1"})
      EXPECT_NE(block.status().message().find(part), std::string::npos)
          << block.status().message();
  });
}

TEST_P(GroupTest, FreeingWhatIsNoBlockIsAnError) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto block = context.symmAlloc(1024);
    ASSERT_OK(block.status());
    EXPECT_EQ(context.symmFree(*block + 256).code(), MOERT_INVALID_ARGUMENT);
    ASSERT_OK(context.symmFree(*block));
  });
}
