//===- MessageLabelsTest.cpp - whose messages a device receives -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Core/MessageLabels.h"
#include "NcclGroup.h"

using namespace moe::rt;
using namespace moe::rt::tests;

namespace {
constexpr int numRanks = 3;

/// Labels of a rank for which the test plays all others.
struct Labels {
  explicit Labels(NcclRank &rank)
      : backend(rank.backend()),
        labels(backend, rank.context.memory(), numRanks) {}

  /// A message of `mine`, with which the peers send `theirs`.
  void exchange(const CollectiveId &mine, const CollectiveId &theirs) {
    ASSERT_TRUE(backend.beginCall(StreamRef{}).isOk());
    auto other = labels.begin(theirs, StreamRef{});
    ASSERT_TRUE(other.isOk()) << other.status().message();
    auto own = labels.begin(mine, StreamRef{});
    ASSERT_TRUE(own.isOk()) << own.status().message();
    EXPECT_EQ(own->bytes, sizeof(CollectiveId));
    auto *to = static_cast<char *>(own->recv);
    for (int peer = 0; peer < numRanks; ++peer) {
      const void *from = peer == 1 ? other->send : own->send;
      EXPECT_OK(backend.copy(to + peer * own->bytes, from, own->bytes));
    }
    EXPECT_OK(labels.end());
    backend.endCall();
  }

  cuda::CudaBackend &backend;
  MessageLabels labels;
};

class MessageLabelsTest : public NcclTest {};
} // namespace

static Status mismatch(int peer, const CollectiveId &mine,
                       const CollectiveId &theirs) {
  return makeError(
      MOERT_COLLECTIVE_MISMATCH, "%d: %llu %llu %llu %llu, %llu", peer,
      (unsigned long long)mine.site, (unsigned long long)theirs.site,
      (unsigned long long)theirs.artifact, (unsigned long long)theirs.groupOp,
      (unsigned long long)theirs.ordinal);
}

static CollectiveId idOf(uint64_t site, uint64_t ordinal) {
  return {77, site, 5, ordinal};
}

TEST_F(MessageLabelsTest, ThoseThatAgreeAreForgotten) {
  run(1, [](NcclRank &rank) {
    Labels all(rank);
    // More than host memory is taken for at once.
    for (uint64_t message = 1; message <= 200; ++message)
      all.exchange(idOf(0, message), idOf(0, message));
    ASSERT_TRUE(rank.isDone(20));
    EXPECT_OK(all.labels.check(mismatch));
    // Those that stand for the peer's own message have got nothing.
    EXPECT_EQ(all.labels.numPending(), 200u);
    all.labels.finished(StreamRef{});
    EXPECT_EQ(all.labels.numPending(), 0u);
  });
}

TEST_F(MessageLabelsTest, OneThatDiffersIsFoundUntilTheReset) {
  run(1, [](NcclRank &rank) {
    Labels all(rank);
    all.exchange(idOf(2, 1), idOf(2, 1));
    all.exchange(idOf(2, 2), idOf(0, 2));
    ASSERT_TRUE(rank.isDone(20));
    for (int time = 0; time < 2; ++time)
      EXPECT_EQ(all.labels.check(mismatch).message(), "1: 2 0 77 5, 2");
    all.labels.reset();
    EXPECT_OK(all.labels.check(mismatch));
    EXPECT_EQ(all.labels.numPending(), 0u);
  });
}

TEST_F(MessageLabelsTest, TheSameCollectiveOfAnotherCallDiffers) {
  run(1, [](NcclRank &rank) {
    Labels all(rank);
    all.exchange({77, 2, 5, 1}, {77, 2, 6, 1});
    ASSERT_TRUE(rank.isDone(20));
    EXPECT_EQ(all.labels.check(mismatch).message(), "1: 2 2 77 6, 1");
  });
}

/// Until they have come there is nothing to compare; those of other streams
/// than the one that is done may still come.
TEST_F(MessageLabelsTest, OnesThatHaveNotComeAreNoError) {
  run(1, [](NcclRank &rank) {
    Labels all(rank);
    StreamRef other{false, reinterpret_cast<void *>(1)};
    ASSERT_TRUE(all.backend.beginCall(StreamRef{}).isOk());
    ASSERT_TRUE(all.labels.begin(idOf(0, 1), StreamRef{}).isOk());
    EXPECT_OK(all.labels.end());
    ASSERT_TRUE(all.labels.begin(idOf(0, 2), other).isOk());
    EXPECT_OK(all.labels.end());
    all.backend.endCall();
    ASSERT_TRUE(rank.isDone(20));
    EXPECT_OK(all.labels.check(mismatch));
    EXPECT_EQ(all.labels.numPending(), 2u);
    all.labels.finished(StreamRef{});
    EXPECT_EQ(all.labels.numPending(), 1u);
    all.labels.finished(other);
    EXPECT_EQ(all.labels.numPending(), 0u);
  });
}
