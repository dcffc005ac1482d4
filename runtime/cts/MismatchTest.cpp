//===- MismatchTest.cpp - conformance: ranks that do different things -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ErrorCalls.h"

#include <fstream>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class MismatchTest : public GroupTest {};
} // namespace

// They belong to the suite of errors.
INSTANTIATE_TEST_SUITE_P(Error, MismatchTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

TEST_P(MismatchTest, DifferentEntriesAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status =
        callWith(context, context.rank() == 1 ? "twice" : "gather", behave);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 1", "'twice'", "'gather'"});
  });
}

TEST_P(MismatchTest, DifferentArtifactsAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 4, [](Context &context) {
    const char *name = context.rank() == 3 ? "exchange4-other" : "exchange4";
    auto artifact = context.load(artifactPath(name), name);
    ASSERT_FALSE(artifact.isOk());
    EXPECT_EQ(artifact.status().code(), MOERT_COLLECTIVE_MISMATCH);
    EXPECT_EQ(artifact.status().message(),
              format("rank %d: ranks load different artifacts: exchange4 on "
                     "rank 0 and exchange4-other on rank 3 differ in hash "
                     "('exchange' and 'other'); give all ranks copies of one "
                     "file",
                     context.rank()));
    // Nothing is broken by that.
    ASSERT_OK(context.load(artifactPath("exchange4"), "art").status());
  });
}

/// A manifest tells little of a module: two may agree in it, and do different
/// things.
TEST_P(MismatchTest, BytesThatDifferAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 3, [](Context &context) {
    std::string bytes = readAll(artifactPath("exchange3"));
    // Bytes after the last that the loader looks at.
    if (context.rank() == 1)
      bytes += "more";
    char path[] = "/tmp/moe-bytes-XXXXXX";
    UniqueFd file(mkstemp(path));
    ASSERT_EQ(write(file.get(), bytes.data(), bytes.size()),
              ssize_t(bytes.size()));
    auto artifact = context.load(path, "art");
    std::remove(path);
    ASSERT_FALSE(artifact.isOk());
    EXPECT_EQ(artifact.status().code(), MOERT_COLLECTIVE_MISMATCH);
    std::string whole = readAll(artifactPath("exchange3"));
    EXPECT_EQ(artifact.status().message(),
              format("rank %d: ranks load different artifacts: art on rank 0 "
                     "and art on rank 1 differ in nothing but their bytes "
                     "(SHA-256 %.16s and %.16s); give all ranks copies of one "
                     "file",
                     context.rank(), toHex(sha256(whole)).c_str(),
                     toHex(sha256(whole + "more")).c_str()));
  });
}

/// Each load has a workspace of its own.
TEST_P(MismatchTest, CallsOfDifferentLoadsAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 3, [](Context &context) {
    Entry *entries[2];
    for (Entry *&entry : entries) {
      auto artifact = context.load(artifactPath("exchange3"), "art");
      ASSERT_OK(artifact.status());
      entry = *(*artifact)->entry("gather");
    }
    std::vector<float> result;
    Status status = callExchange(context, *entries[context.rank() == 1], behave,
                                 0, {}, result);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH);
    expectParts(status, {"call of entry 'gather' of artifact art",
                         "call of entry 'gather' of artifact art (load 2)",
                         "rank 1 is in the"});
    ASSERT_OK(context.reset());
    for (Entry *entry : entries)
      ASSERT_OK(callExchange(context, *entry, behave, 0,
                             rowsOf(context.rank(), 1), result));
    EXPECT_EQ(result, gathered(3, 1));
  });
}

TEST_P(MismatchTest, OtherOrderOfCollectives) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status = callWith(context, "twice", otherOrder);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 2", "test.gather at exchange.c:1:1",
                         "test.gather at exchange.c:2:2"});
  });
}

TEST_P(MismatchTest, CollectiveThatOneRankLeavesOut) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status = callWith(context, "gather", leaveEarly);
    if (context.rank() == 2)
      return;
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 2 has ended the call of entry 'gather'",
                         "test.gather at exchange.c:1:1"});
  });
}

/// Loops with different trip counts, say. Who waits is told at once of both
/// collectives, though devices may still be busy with them.
TEST_P(MismatchTest, CollectiveThatOneRankCallsMoreOften) {
  for (bool isLonger : {true, false})
    runGroup(GetParam(), 3, [&](Context &context) {
      auto artifact = context.load(artifactPath("exchange3"), "art");
      ASSERT_OK(artifact.status());
      Entry &entry = **(*artifact)->entry("rotate_times");
      int64_t times = context.rank() == 1 ? (isLonger ? 3 : 1) : 2;
      Status status = callRotateTimes(context, entry, times);
      // Others may have got all the rows they need.
      bool isWaiting = context.rank() == (isLonger ? 1 : 2);
      ASSERT_OK(context.boot().barrier());
      if (status.isOk() && !isWaiting) {
        ASSERT_OK(context.reset());
        return;
      }
      EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
      expectParts(status,
                  {isLonger ? "rank 1 is in test.rotate at exchange.c:3:3, "
                            : "is in test.rotate at exchange.c:3:3, but rank 1",
                   "has ended the call of entry 'rotate_times' of artifact art "
                   "without it; its last one was test.rotate at "
                   "exchange.c:3:3"});
      ASSERT_OK(context.reset());
    });
}

/// The collectives of two calls look alike.
TEST_P(MismatchTest, CollectiveThatMeetsTheNextCalls) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange2"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("rotate_times");
    ASSERT_OK(callRotateTimes(context, entry, 1));
    Status status;
    for (int call = 0; call < 2 && status.isOk(); ++call)
      status = callRotateTimes(context, entry,
                               call == 0 && context.rank() == 1 ? 2 : 1);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 1 is in test.rotate at exchange.c:3:3, but rank "
                         "0 has ended the call of entry 'rotate_times'"});
  });
}
