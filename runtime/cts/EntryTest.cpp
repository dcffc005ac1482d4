//===- EntryTest.cpp - conformance: calling entries -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Artifacts.h"

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class EntryTest : public GroupTest {};
} // namespace

INSTANTIATE_TEST_SUITE_P(Entry, EntryTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

static void callManyTimes(Context &context, int rounds) {
  auto artifact =
      context.load(artifactPath(format("exchange%d", context.size())), "art");
  ASSERT_OK(artifact.status());
  for (const char *name : {"gather", "twice"}) {
    auto entry = (*artifact)->entry(name);
    ASSERT_OK(entry.status());
    std::vector<float> result;
    for (int round = 0; round < rounds; ++round) {
      ASSERT_OK(callExchange(context, **entry, behave, 0,
                             rowsOf(context.rank(), round), result));
      ASSERT_EQ(result, gathered(context.size(), round)) << "round " << round;
    }
  }
  EXPECT_EQ(context.memory().stats().liveBlocks, 0u);
  ASSERT_OK(context.unload(*artifact));
}

TEST_P(EntryTest, RepeatedCallsFromOneToEightRanks) {
  for (int size = 1; size <= 8; ++size)
    runGroup(GetParam(), size,
             [](Context &context) { callManyTimes(context, 25); });
}

TEST_P(EntryTest, ManyRanks) {
  runGroup(
      GetParam(), backendUnderTest.manyRanks,
      [](Context &context) { callManyTimes(context, 2); }, 60);
}

TEST_P(EntryTest, WorkspaceIsZeroedWhenAnotherArtifactGetsIt) {
  runGroup(GetParam(), 4, [](Context &context) {
    for (int i = 0; i < 3; ++i)
      callManyTimes(context, 3);
    EXPECT_EQ(context.heap().usedBytes(), 0u);
  });
}

TEST_P(EntryTest, TwoArtifactsAtOnce) {
  runGroup(GetParam(), 4, [](Context &context) {
    std::vector<Entry *> entries;
    for (const char *name : {"exchange4", "exchange4-other"}) {
      auto artifact = context.load(artifactPath(name), name);
      ASSERT_OK(artifact.status());
      entries.push_back(*(*artifact)->entry("gather"));
    }
    std::vector<float> result;
    for (int round = 0; round < 10; ++round) {
      ASSERT_OK(callExchange(context, *entries[round % 2], behave, 0,
                             rowsOf(context.rank(), round), result));
      EXPECT_EQ(result, gathered(4, round));
    }
  });
}

TEST_P(EntryTest, TimingsNameOpLocationAndPhase) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange2"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("twice");
    std::vector<float> result;
    for (int i = 0; i < 3; ++i)
      ASSERT_OK(callExchange(context, entry, behave, 0, {}, result));
    std::vector<std::string> seen;
    for (const Timings::Row &row : context.timings().rows()) {
      seen.push_back(row.op + "|" + row.location + "|" + row.phase);
      EXPECT_GE(row.calls, 3);
      EXPECT_GT(row.ns, 0);
    }
    std::vector<std::string> expected = {"||compute",
                                         "test.gather|exchange.c:1:1|begin",
                                         "test.gather|exchange.c:1:1|put",
                                         "test.gather|exchange.c:1:1|complete",
                                         "test.gather|exchange.c:2:2|begin",
                                         "test.gather|exchange.c:2:2|put",
                                         "test.gather|exchange.c:2:2|complete"};
    EXPECT_EQ(seen, expected);
  });
}

TEST_P(EntryTest, ResultsThatAreNotFromTheArenaAreCopied) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange2"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("gather");
    std::vector<float> result, rows = {5, 6, 7, 8};
    ASSERT_OK(callExchange(context, entry, returnStatic, context.rank(), rows,
                           result));
    EXPECT_EQ(result, (std::vector<float>{1, 2, 3, 4}));
    ASSERT_OK(callExchange(context, entry, returnInput, context.rank(), rows,
                           result));
    EXPECT_EQ(result, rows);
    ASSERT_OK(callExchange(context, entry, leak, 0, rows, result));
    EXPECT_EQ(context.memory().stats().liveBlocks, 0u);
  });
}
