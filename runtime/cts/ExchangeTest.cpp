//===- ExchangeTest.cpp - conformance: exchanges of messages --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ErrorCalls.h"
#include "ExchangeCases.h"

#include <csignal>
#include <tuple>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

//===----------------------------------------------------------------------===//
// What works
//===----------------------------------------------------------------------===//

namespace {
using CaseParam = std::tuple<RankKind, size_t>;

class ExchangeCaseTest : public BackendTest,
                         public ::testing::WithParamInterface<CaseParam> {};
class ExchangeTest : public GroupTest {};
} // namespace

static std::string caseName(const ::testing::TestParamInfo<CaseParam> &info) {
  auto [kind, number] = info.param;
  return std::string(kind == RankKind::Threads ? "Threads_" : "Processes_") +
         exchangeCases()[number].name;
}

INSTANTIATE_TEST_SUITE_P(
    Exchange, ExchangeCaseTest,
    ::testing::Combine(::testing::Values(RankKind::Threads,
                                         RankKind::Processes),
                       ::testing::Range(size_t(0), exchangeCases().size())),
    caseName);
INSTANTIATE_TEST_SUITE_P(Exchange, ExchangeTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

TEST_P(ExchangeCaseTest, Groups) {
  auto [kind, number] = GetParam();
  const ExchangeCase &exchangeCase = exchangeCases()[number];
  const std::vector<int> sizes =
      isSanitized ? std::vector<int>{1, 3} : std::vector<int>{1, 2, 3, 5, 8};
  for (int size : sizes)
    runGroup(
        kind, size,
        [&](Context &context) {
          if (Artifact *artifact = loadMessages(context)) {
            exchangeCase.run(context, *artifact);
            EXPECT_EQ(context.memory().stats().liveBlocks, 0u);
          }
        },
        60);
}

TEST_P(ExchangeTest, ManyRanks) {
  runGroup(
      GetParam(), backendUnderTest.manyRanks,
      [](Context &context) {
        Artifact *artifact = loadMessages(context);
        if (!artifact)
          return;
        ASSERT_OK(exchangeCounts(context, *artifact,
                                 sameCounts(context.size(), 3), 1000));
        auto counts = sameCounts(context.size(), 0);
        for (auto &row : counts)
          row[context.size() / 2] = 20;
        ASSERT_OK(exchangeCounts(context, *artifact, counts, 1000));
      },
      60);
}

TEST_P(ExchangeTest, AnotherLoadUsesTheSameTransport) {
  runGroup(GetParam(), 3, [](Context &context) {
    size_t used = 0;
    for (int load = 0; load < 3; ++load) {
      Artifact *artifact = loadMessages(context);
      if (!artifact)
        return;
      ASSERT_OK(exchangeCounts(context, *artifact, sameCounts(3, 10), 100));
      EXPECT_TRUE(load == 0 || context.heap().usedBytes() == used);
      used = context.heap().usedBytes();
      if (load == 1)
        ASSERT_OK(context.unload(artifact));
    }
  });
}

//===----------------------------------------------------------------------===//
// What is an error
//===----------------------------------------------------------------------===//

static void expectParts(const Status &status,
                        std::initializer_list<std::string> parts) {
  for (const std::string &part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "no '" << part << "' in: " << status.message();
}

TEST_P(ExchangeTest, MisuseIsAnErrorThatNamesThePlace) {
  struct Case {
    MessageMode mode;
    const char *part;
  };
  const std::string place = "rank 1: test.exchange at messages.c:3:3, phase "
                            "'exchange': ";
  for (Case c :
       {Case{rowsOutside,
             "moert_exchange_rows without moert_exchange_begin before it"},
        Case{endOutside,
             "moert_exchange_end without moert_exchange_begin before it"},
        Case{beginTwice, "moert_exchange_begin between moert_exchange_begin "
                         "and moert_exchange_end"},
        Case{gatherInside, "moert_all_gather between moert_exchange_begin and "
                           "moert_exchange_end"},
        Case{leaveOpen, "moert_collective_end between moert_exchange_begin "
                        "and moert_exchange_end"},
        Case{negativeBytes, "moert_all_gather of -1 bytes"}})
    runGroup(GetParam(), 2, [&](Context &context) {
      Artifact *artifact = loadMessages(context);
      if (!artifact)
        return;
      Status status =
          exchangeCounts(context, *artifact, sameCounts(2, 3), 8, {c.mode, 1});
      EXPECT_EQ(status.code(),
                context.rank() == 1 ? MOERT_INTERNAL : MOERT_PEER_FAILED);
      expectParts(status, {place + c.part});
      // Nothing of it is left in the next call.
      ASSERT_OK(context.reset());
      ASSERT_OK(exchangeCounts(context, *artifact, sameCounts(2, 3), 8));
    });
}

TEST_P(ExchangeTest, MessagesOutsideOfACollective) {
  runGroup(GetParam(), 2, [](Context &context) {
    Artifact *artifact = loadMessages(context);
    if (!artifact)
      return;
    Status status = exchangeCounts(context, *artifact, sameCounts(2, 3), 8,
                                   {noCollective, 1});
    expectParts(status, {"rank 1: call of entry 'exchange' of artifact art: "
                         "moert_all_gather outside of a collective"});
  });
}

TEST_P(ExchangeTest, ArtifactsForMemoryOfOtherRanksHaveNoMessages) {
  if (backendUnderTest.name != std::string("host"))
    GTEST_SKIP() << "there is one artifact for it";
  runGroup(GetParam(), 2, [](Context &context) {
    ASSERT_TRUE(loadMessages(context));
    auto artifact = context.load(artifactPath("messages2-direct"), "direct");
    ASSERT_OK(artifact.status());
    Bytes result;
    Status status =
        callSpread(context, **artifact, "all_gather", {1, 2}, result);
    expectParts(status, {"test.all_gather at messages.c:1:1, phase 'exchange': "
                         "moert_all_gather in an artifact whose manifest does "
                         "not say \"transport\": \"messages\""});
  });
}

TEST_P(ExchangeTest, NegativeCountsAndStarts) {
  struct Case {
    std::vector<int32_t> BufferRows::*table;
    const char *name;
  };
  for (Case c : {Case{&BufferRows::sendStarts, "send_starts[0] is -7"},
                 Case{&BufferRows::sendCounts, "send_counts[0] is -7"},
                 Case{&BufferRows::recvStarts, "recv_starts[0] is -7"},
                 Case{&BufferRows::recvCounts, "recv_counts[0] is -7"}})
    runGroup(GetParam(), 2, [&](Context &context) {
      Artifact *artifact = loadMessages(context);
      if (!artifact)
        return;
      std::vector<int32_t> zeros(2, 0);
      BufferRows rows{zeros, zeros, zeros, zeros, 0, 0, 4};
      if (context.rank() == 1)
        (rows.*c.table)[0] = -7;
      Bytes result;
      Status status = callExchangeRows(context, *artifact, {rows}, {}, result);
      // Without rows there is nothing that rank 0 waits for.
      EXPECT_TRUE(context.rank() == 0 || status.code() == MOERT_INTERNAL);
      if (!status.isOk())
        expectParts(status, {std::string("phase 'exchange': "
                                         "moert_exchange_rows: ") +
                             c.name});
      ASSERT_OK(context.boot().barrier());
    });
}

TEST_P(ExchangeTest, CountsThatDifferBetweenRanks) {
  if (backendUnderTest.name != std::string("host"))
    GTEST_SKIP() << "on GPUs nobody sees the counts of others";
  runGroup(GetParam(), 3, [](Context &context) {
    Artifact *artifact = loadMessages(context);
    if (!artifact)
      return;
    auto counts = sameCounts(3, 4);
    if (context.rank() == 2)
      counts[1][2] = 5;
    Status status = exchangeCounts(context, *artifact, counts, 8);
    // The others may be done before rank 2 sees it.
    if (context.rank() != 2)
      return;
    EXPECT_EQ(status.code(), MOERT_INVALID_COUNT) << status.message();
    expectParts(status, {"rank 2: test.exchange at messages.c:3:3, phase "
                         "'exchange': ",
                         "rank 1"});
    EXPECT_EQ(status.details().peer, 1);
  });
}

TEST_P(ExchangeTest, RankThatSendsItselfAnotherNumber) {
  runGroup(GetParam(), 1, [](Context &context) {
    Artifact *artifact = loadMessages(context);
    if (!artifact)
      return;
    BufferRows rows{{0}, {2}, {0}, {3}, 0, 0, 4};
    Bytes result(16, 0);
    Status status =
        callExchangeRows(context, *artifact, {rows}, Bytes(16, 0), result);
    EXPECT_EQ(status.code(), MOERT_INVALID_COUNT);
    expectParts(status, {"the rank sends itself 2 rows, but expects 3"});
  });
}

/// The entry is known, so nobody waits at its beginning.
TEST_P(ExchangeTest, RankThatNeverComes) {
  runGroup(
      GetParam(), 4,
      [](Context &context) {
        Artifact *artifact = loadMessages(context);
        if (!artifact)
          return;
        ASSERT_OK(exchangeCounts(context, *artifact, sameCounts(4, 3), 8));
        if (context.rank() == 2) {
          awaitErrorOfOthers(context);
          EXPECT_NE(context.originRank(), 2);
          return;
        }
        Status status = exchangeCounts(context, *artifact, sameCounts(4, 3), 8);
        EXPECT_TRUE(status.code() == MOERT_TIMEOUT ||
                    status.code() == MOERT_PEER_FAILED);
        // The bound of work on a GPU is another one.
        expectParts(status, {"test.exchange at messages.c:3:3, phase 'count': "
                             "timed out after ",
                             context.device().isAsynchronous() ? "" : " 4 s ",
                             " s waiting for rank 2: ",
                             "rank 2 was last seen not in a call"});
        EXPECT_EQ(status.details().peer, 2);
        EXPECT_EQ(status.details().phase, "count");
        EXPECT_EQ(status.details().op, "test.exchange");
      },
      shortTimeout);
}

TEST_P(ExchangeTest, RankThatLeavesWithoutTheCollective) {
  runGroup(GetParam(), 3, [](Context &context) {
    Artifact *artifact = loadMessages(context);
    if (!artifact)
      return;
    Status status = exchangeCounts(context, *artifact, sameCounts(3, 3), 8,
                                   {leaveEarly, 1});
    if (context.rank() == 1)
      return;
    EXPECT_TRUE(status.code() == MOERT_COLLECTIVE_MISMATCH ||
                status.code() == MOERT_PEER_FAILED)
        << status.message();
    expectParts(status, {"rank 1"});
  });
}

/// A rank may leave the group as soon as its part is done.
TEST_P(ExchangeTest, RankThatLeavesAfterItsPart) {
  for (int round = 0; round < 5; ++round)
    runGroup(GetParam(), 3, [](Context &context) {
      Artifact *artifact = loadMessages(context);
      if (!artifact)
        return;
      auto counts = sameCounts(3, 0);
      counts[1] = {20, 0, 20};
      ASSERT_OK(exchangeCounts(context, *artifact, counts, 1000));
    });
}

/// And before another one has begun with its own.
TEST_P(ExchangeTest, RankThatLeavesBeforeASlowOneSends) {
  runGroup(GetParam(), 3, [](Context &context) {
    Artifact *artifact = loadMessages(context);
    if (!artifact)
      return;
    auto counts = sameCounts(3, 0);
    for (auto &row : counts)
      row[2] = 20;
    ASSERT_OK(exchangeCounts(context, *artifact, counts, 1000, {slow, 1}));
  });
}

/// With messages under way to it and from it.
TEST_F(ProcessTest, DeathInTheMiddleOfAnExchange) {
  for (int64_t mode : {int64_t(dieByKill), int64_t(exitCleanly)}) {
    GroupResult result = runGroup(
        RankKind::Processes, 4,
        [&](Context &context) {
          Artifact *artifact = loadMessages(context);
          if (!artifact)
            return;
          Status status = exchangeCounts(context, *artifact, sameCounts(4, 300),
                                         4000, {mode, 2});
          EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
          expectParts(status,
                      {context.device().isAsynchronous()
                           ? "waiting for the GPU: rank 2 (process "
                           : "waiting for a message: rank 2 (process ",
                       ") died in "
                       "test.exchange at messages.c:3:3, phase 'exchange'"});
        },
        60, {2});
    if (result.isSkipped)
      return;
    EXPECT_EQ(result.exitCodes[2], mode == dieByKill ? 128 + 9 : 0);
  }
}
