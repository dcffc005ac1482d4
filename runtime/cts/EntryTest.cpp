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

/// Calls an entry of kept.c with `count` floats.
static Status callKeep(Context &context, Entry &entry, void *data, size_t count,
                       DLDevice device, DLManagedTensor *&result) {
  int64_t shape[1] = {int64_t(count)};
  DLTensor in{};
  in.data = data;
  in.device = device;
  in.dtype = {kDLFloat, 32, 1};
  in.ndim = 1;
  in.shape = shape;
  std::vector<DLManagedTensor *> outputs;
  Status status = context.call(entry, {&in}, outputs);
  result = status.isOk() ? outputs[0] : nullptr;
  return status;
}

/// An argument may lie where the call writes. Ordinary ones are copied before,
/// symmetric ones cannot be and are refused.
TEST_P(EntryTest, ArgumentsThatTheCallWritesTo) {
  runGroup(GetParam(), 1, [](Context &context) {
    auto artifact = context.load(artifactPath("kept"), "art");
    ASSERT_OK(artifact.status());
    Entry &ordinary = **(*artifact)->entry("keep");
    Entry &symmetric = **(*artifact)->entry("keep_symmetric");
    DLDevice device = context.device().device();
    std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8};
    auto expectValues = [&](const DLManagedTensor &tensor, size_t first) {
      std::vector<float> seen(values.size() - first);
      ASSERT_OK(
          context.copyToHost(tensor.dl_tensor, seen.data(), seen.size() * 4));
      EXPECT_EQ(seen, std::vector<float>(values.begin() + first, values.end()));
    };
    DLManagedTensor *kept = nullptr, *again = nullptr, *refused = nullptr;
    ASSERT_OK(callKeep(context, ordinary, values.data(), 8, {kDLCPU, 0}, kept));
    expectValues(*kept, 0);
    auto *memory = static_cast<float *>(kept->dl_tensor.data);
    ASSERT_OK(callKeep(context, ordinary, memory, 8, device, again));
    expectValues(*again, 0);
    again->deleter(again);
    // A part of it, which overlaps what is written in part.
    ASSERT_OK(callKeep(context, ordinary, memory + 4, 4, device, again));
    expectValues(*again, 4);
    again->deleter(again);

    kept->deleter(kept);
    ASSERT_OK(callKeep(context, ordinary, values.data(), 8, {kDLCPU, 0}, kept));
    ASSERT_OK(callKeep(context, symmetric, memory, 8, device, again));
    expectValues(*again, 0);
    Status status =
        callKeep(context, symmetric, again->dl_tensor.data, 8, device, refused);
    EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT);
    EXPECT_EQ(status.message(),
              "rank 0: argument 0 of entry 'keep_symmetric': it lies where "
              "this call writes: a symmetric result of the entry itself, or "
              "other memory of its artifact's workspace; pass a copy in memory "
              "of moert_symm_alloc");
    again->deleter(again);
    kept->deleter(kept);
  });
}
