//===- ErrorTest.cpp - conformance: errors reach all ranks ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Artifacts.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class ErrorTest : public GroupTest {};
} // namespace

INSTANTIATE_TEST_SUITE_P(Error, ErrorTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

static void expectParts(const Status &status,
                        std::initializer_list<const char *> parts) {
  for (const char *part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "no '" << part << "' in: " << status.message();
}

/// Loads exchange4 and calls `entryName` on four ranks; rank 2 is in `mode`.
static Status callWith(Context &context, const char *entryName, int64_t mode) {
  auto artifact = context.load(artifactPath("exchange4"), "art");
  if (!artifact.isOk())
    return artifact.status();
  std::vector<float> result;
  return callExchange(context, **(*artifact)->entry(entryName), mode, 2,
                      rowsOf(context.rank(), 1), result);
}

/// Rank 2 fails with `code` and a message of `parts`; the others hear of it.
static void expectOriginTwo(const Status &status, Context &context,
                            moert_code code,
                            std::initializer_list<const char *> parts) {
  EXPECT_EQ(status.code(), context.rank() == 2 ? code : MOERT_PEER_FAILED)
      << status.message();
  EXPECT_EQ(status.message().rfind(format("rank %d: ", context.rank()), 0), 0u)
      << status.message();
  EXPECT_EQ(context.originRank(), 2);
  expectParts(status, parts);
}

TEST_P(ErrorTest, FailureNamesOpLocationPhaseExpectedAndSeen) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status = callWith(context, "gather", failHere);
    expectOriginTwo(status, context, MOERT_INVALID_EXPERT,
                    {"rank 2: test.gather at exchange.c:1:1, phase 'put': "
                     "invalid expert: expert id: expected at most 7, seen 12"});
    EXPECT_EQ(context.memory().stats().liveBlocks, 0u);
  });
}

TEST_P(ErrorTest, MisuseOfTheAbiIsAnError) {
  struct Case {
    Mode mode;
    moert_code code;
    const char *part;
  };
  for (Case c :
       {Case{freeGarbage, MOERT_INTERNAL, "did not give out"},
        Case{allocTooMuch, MOERT_OUT_OF_MEMORY,
             "cannot allocate 1152921504606846976 bytes"},
        Case{badPeer, MOERT_INTERNAL, "wait for rank 4 of 4"},
        Case{unknownCode, MOERT_INTERNAL, "nonsense"},
        Case{wrongShape, MOERT_INTERNAL, "result 0 of entry 'gather'"}})
    runGroup(GetParam(), 4, [&](Context &context) {
      Status status = callWith(context, "gather", c.mode);
      // A wrong result shows after the exchange, when others may be done.
      if (c.mode == wrongShape && context.rank() != 2)
        return;
      expectOriginTwo(status, context, c.code, {c.part});
    });
}

TEST_P(ErrorTest, CallsAreRefusedAfterAnErrorUntilReset) {
  runGroup(GetParam(), 4, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange4"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("gather");
    std::vector<float> result;
    for (int round = 0; round < 3; ++round) {
      ASSERT_OK(callExchange(context, entry, behave, 0,
                             rowsOf(context.rank(), round), result));
      EXPECT_EQ(result, gathered(4, round));
      // An error stops ranks that are one call behind.
      ASSERT_OK(context.boot().barrier());
      Status status = callExchange(context, entry, failHere, 2,
                                   rowsOf(context.rank(), round), result);
      EXPECT_FALSE(status.isOk());
      status = callExchange(context, entry, behave, 0,
                            rowsOf(context.rank(), round), result);
      EXPECT_EQ(status.code(),
                context.rank() == 2 ? MOERT_INVALID_EXPERT : MOERT_PEER_FAILED);
      expectParts(status, {"must be reset", "expert id"});
      ASSERT_OK(context.reset());
      EXPECT_EQ(context.originRank(), -1);
    }
  });
}

TEST_P(ErrorTest, TimeOutSaysWhoWhereAndWhatWasSeen) {
  runGroup(
      GetParam(), 4,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange4"), "art");
        ASSERT_OK(artifact.status());
        Entry &entry = **(*artifact)->entry("gather");
        std::vector<float> result;
        ASSERT_OK(callExchange(context, entry, behave, 0, {}, result));
        // The entry is known, so nobody waits at its beginning.
        if (context.rank() == 2) {
          usleep(1500000);
          EXPECT_NE(context.originRank(), 2);
          return;
        }
        Status status = callExchange(context, entry, behave, 0, {}, result);
        EXPECT_TRUE(status.code() == MOERT_TIMEOUT ||
                    status.code() == MOERT_PEER_FAILED);
        expectParts(status,
                    {"test.gather at exchange.c:1:1, phase 'complete': timed "
                     "out after 0.5 s waiting for rank 2: expected signal 2, "
                     "seen 1; rank 2 was last seen not in a call"});
      },
      0.5);
}

TEST_P(ErrorTest, RankThatNeverArrivesAtAnEntry) {
  runGroup(
      GetParam(), 4,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange4"), "art");
        ASSERT_OK(artifact.status());
        if (context.rank() == 2) {
          usleep(1500000);
          return;
        }
        std::vector<float> result;
        Status status = callExchange(context, **(*artifact)->entry("gather"),
                                     behave, 0, {}, result);
        EXPECT_TRUE(status.code() == MOERT_TIMEOUT ||
                    status.code() == MOERT_PEER_FAILED);
        expectParts(status, {"call of entry 'gather' of artifact exchange",
                             "timed out after 0.5 s waiting for rank 2 to "
                             "arrive; rank 2 was last seen not in a call"});
      },
      0.5);
}

TEST_P(ErrorTest, RankThatHasLeftTheGroup) {
  runGroup(GetParam(), 4, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange4"), "art");
    ASSERT_OK(artifact.status());
    if (context.rank() == 2)
      return;
    std::vector<float> result;
    Status status = callExchange(context, **(*artifact)->entry("gather"),
                                 behave, 0, {}, result);
    EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
    // A rank in a process may be gone altogether.
    bool isTold =
        status.message().find("rank 2 has left the group") != std::string::npos;
    EXPECT_TRUE(isTold) << status.message();
  });
}

TEST_P(ErrorTest, DifferentEntriesAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status =
        callWith(context, context.rank() == 1 ? "twice" : "gather", behave);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 1", "'twice'", "'gather'"});
  });
}

TEST_P(ErrorTest, DifferentArtifactsAreAMismatchOnAllRanks) {
  runGroup(GetParam(), 4, [](Context &context) {
    const char *name = context.rank() == 3 ? "exchange4-other" : "exchange4";
    auto artifact = context.load(artifactPath(name), name);
    ASSERT_FALSE(artifact.isOk());
    EXPECT_EQ(artifact.status().code(), MOERT_COLLECTIVE_MISMATCH);
    expectParts(artifact.status(), {"rank 3", "hash other", "hash exchange"});
  });
}

TEST_P(ErrorTest, WrongNumberOfRanks) {
  runGroup(GetParam(), 3, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange4"), "art");
    ASSERT_FALSE(artifact.isOk());
    EXPECT_EQ(artifact.status().code(), MOERT_ABI_MISMATCH);
    expectParts(artifact.status(),
                {"art: the artifact is for 4 ranks, but the group has 3"});
    // Nothing is broken by that.
    ASSERT_OK(context.load(artifactPath("exchange3"), "art").status());
  });
}

TEST_P(ErrorTest, LoadThatFailsOnOneRankFailsOnAll) {
  runGroup(GetParam(), 3, [](Context &context) {
    const char *name = context.rank() == 1 ? "no-such-file" : "exchange3";
    auto artifact = context.load(artifactPath(name), name);
    ASSERT_FALSE(artifact.isOk());
    EXPECT_EQ(artifact.status().code(),
              context.rank() == 1 ? MOERT_IO : MOERT_PEER_FAILED);
    expectParts(artifact.status(), {"no-such-file: cannot open the artifact"});
    ASSERT_OK(context.load(artifactPath("exchange3"), "art").status());
  });
}

/// The loader would map what is not there.
TEST_P(ErrorTest, PartOfAnArtifact) {
  runGroup(GetParam(), 3, [](Context &context) {
    std::ifstream whole(artifactPath("exchange3"), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(whole)),
                      std::istreambuf_iterator<char>());
    ASSERT_GT(bytes.size(), 1000u);
    char folder[] = "/tmp/moe-part-XXXXXX";
    ASSERT_TRUE(mkdtemp(folder));
    std::string path = std::string(folder) + "/part.so";
    for (size_t size : {size_t(0), size_t(10), size_t(1000), bytes.size() / 2,
                        bytes.size() - 1}) {
      std::ofstream(path, std::ios::binary).write(bytes.data(), size);
      auto artifact = context.load(path, "art");
      ASSERT_FALSE(artifact.isOk()) << size;
      EXPECT_EQ(artifact.status().code(), MOERT_INVALID_ARGUMENT) << size;
      expectParts(artifact.status(), {"art: not an artifact, or only a part"});
    }
    std::remove(path.c_str());
    rmdir(folder);
    ASSERT_OK(context.load(artifactPath("exchange3"), "art").status());
  });
}

TEST_P(ErrorTest, OtherOrderOfCollectives) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status = callWith(context, "twice", otherOrder);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 2", "test.gather at exchange.c:1:1",
                         "test.gather at exchange.c:2:2"});
  });
}

TEST_P(ErrorTest, CollectiveThatOneRankLeavesOut) {
  runGroup(GetParam(), 4, [](Context &context) {
    Status status = callWith(context, "gather", leaveEarly);
    if (context.rank() == 2)
      return;
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    expectParts(status, {"rank 2 has ended the call of entry 'gather'",
                         "test.gather at exchange.c:1:1"});
  });
}

TEST_P(ErrorTest, ErrorOutsideOfACallReachesTheOthers) {
  runGroup(GetParam(), 3, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange3"), "art");
    ASSERT_OK(artifact.status());
    if (context.rank() == 1) {
      Status told = context.fail(Status(MOERT_IO, "the disk is full"));
      EXPECT_EQ(told.message(), "rank 1: the disk is full");
      return;
    }
    std::vector<float> result;
    Status status = callExchange(context, **(*artifact)->entry("gather"),
                                 behave, 0, {}, result);
    EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
    expectParts(status, {"rank 1: the disk is full"});
  });
}

TEST_P(ErrorTest, BadInputOnOneRank) {
  runGroup(GetParam(), 3, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange3"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("gather");
    std::vector<DLManagedTensor *> outputs;
    std::vector<float> result;
    // At the first call ranks meet before they run, and nothing breaks.
    Status status = context.rank() == 1
                        ? context.call(entry, {}, outputs)
                        : callExchange(context, entry, behave, 0, {}, result);
    EXPECT_EQ(status.code(),
              context.rank() == 1 ? MOERT_INVALID_ARGUMENT : MOERT_PEER_FAILED);
    expectParts(status, {"entry 'gather' has 3 arguments, but 0 were given"});
    ASSERT_OK(callExchange(context, entry, behave, 0, {}, result));
    ASSERT_OK(context.boot().barrier());
    // At a later call the others are already running.
    status = context.rank() == 1
                 ? context.call(entry, {}, outputs)
                 : callExchange(context, entry, behave, 0, {}, result);
    EXPECT_EQ(status.code(),
              context.rank() == 1 ? MOERT_INVALID_ARGUMENT : MOERT_PEER_FAILED);
    expectParts(status, {"entry 'gather' has 3 arguments, but 0 were given"});
    ASSERT_OK(context.reset());
    ASSERT_OK(callExchange(context, entry, behave, 0, {}, result));
  });
}

namespace {
class ProcessTest : public BackendTest {};
} // namespace

TEST_F(ProcessTest, DeathOfARankIsSeenByTheOthers) {
  for (Mode mode : {dieByKill, exitCleanly}) {
    GroupResult result = runGroup(
        RankKind::Processes, 4,
        [&](Context &context) {
          Status status = callWith(context, "gather", mode);
          EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
          expectParts(status, {"rank 2 (process ", ") died",
                               "test.gather at exchange.c:1:1, phase 'put'"});
        },
        60, {2});
    EXPECT_EQ(result.exitCodes[2], mode == dieByKill ? 128 + 9 : 0);
  }
}
