//===- ErrorTest.cpp - conformance: errors reach all ranks ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ErrorCalls.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sys/wait.h>
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

/// Rank 0 makes a process that stops all ranks after `delay` seconds, and
/// continues them `seconds` later. Collective.
static pid_t stopAllRanks(Context &context, double delay, double seconds) {
  pid_t mine = getpid();
  std::vector<pid_t> all(context.size());
  EXPECT_TRUE(context.boot().allGather(&mine, sizeof(mine), all.data()).isOk());
  if (context.rank() != 0)
    return -1;
  pid_t stopper = fork();
  if (stopper != 0)
    return stopper;
  usleep(unsigned(delay * 1e6));
  for (pid_t rank : all)
    kill(rank, SIGSTOP);
  usleep(unsigned(seconds * 1e6));
  for (pid_t rank : all)
    kill(rank, SIGCONT);
  _exit(0);
}

static void endStopper(pid_t stopper) {
  if (stopper > 0) {
    EXPECT_EQ(waitpid(stopper, nullptr, 0), stopper);
  }
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
                     "invalid expert: expert id of token 3, slot 1: expected "
                     "-1 to 7, seen 12"});
    // The parts of the message, on every rank.
    const ErrorDetails &details = status.details();
    EXPECT_EQ(details.rank, context.rank());
    EXPECT_EQ(details.origin, 2);
    EXPECT_EQ(context.rank() == 2 ? status.code() : details.cause,
              MOERT_INVALID_EXPERT);
    EXPECT_EQ(details.peer, -1);
    EXPECT_EQ(details.op, "test.gather");
    EXPECT_EQ(details.location, "exchange.c:1:1");
    EXPECT_EQ(details.phase, "put");
    EXPECT_EQ(details.what, "expert id of token 3, slot 1");
    EXPECT_EQ(details.expected, "-1 to 7");
    EXPECT_EQ(details.seen, "12");
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
          awaitErrorOfOthers(context);
          EXPECT_NE(context.originRank(), 2);
          return;
        }
        Status status = callExchange(context, entry, behave, 0, {}, result);
        EXPECT_TRUE(status.code() == MOERT_TIMEOUT ||
                    status.code() == MOERT_PEER_FAILED);
        expectParts(status,
                    {"test.gather at exchange.c:1:1, phase 'complete': timed "
                     "out after 4 s waiting for rank 2: expected signal 2, "
                     "seen 1; rank 2 was last seen not in a call"});
        const ErrorDetails &details = status.details();
        EXPECT_EQ(details.rank, context.rank());
        EXPECT_EQ(details.origin, context.originRank());
        EXPECT_EQ(details.peer, 2);
        EXPECT_EQ(details.op, "test.gather");
        EXPECT_EQ(details.phase, "complete");
        EXPECT_EQ(details.what, "signal");
        EXPECT_EQ(details.expected, "2");
        EXPECT_EQ(details.seen, "1");
      },
      shortTimeout);
}

TEST_P(ErrorTest, RankThatNeverArrivesAtAnEntry) {
  runGroup(
      GetParam(), 4,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange4"), "art");
        ASSERT_OK(artifact.status());
        if (context.rank() == 2) {
          awaitErrorOfOthers(context);
          return;
        }
        std::vector<float> result;
        Status status = callExchange(context, **(*artifact)->entry("gather"),
                                     behave, 0, {}, result);
        EXPECT_TRUE(status.code() == MOERT_TIMEOUT ||
                    status.code() == MOERT_PEER_FAILED);
        expectParts(status, {"call of entry 'gather' of artifact art",
                             "timed out after 4 s waiting for rank 2 to "
                             "arrive; rank 2 was last seen not in a call"});
        EXPECT_EQ(status.details().peer, 2);
        EXPECT_EQ(status.details().expected,
                  "call of entry 'gather' of artifact art");
        EXPECT_EQ(status.details().seen, "not in a call");
      },
      shortTimeout);
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
    std::string bytes = readAll(artifactPath("exchange3"));
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

/// As by Ctrl-Z, or where a container is frozen: the time-out is for ranks that
/// are late while others run.
TEST_P(ErrorTest, RanksThatAreStoppedTogetherAreNotLate) {
  if (GetParam() == RankKind::Threads)
    return; // that are stopped with the test
  runGroup(
      GetParam(), 3,
      [](Context &context) {
        // Whoever keeps the ranks' bootstrap together may not be stopped.
        context.boot().setTimeout(60);
        auto artifact = context.load(artifactPath("exchange3"), "art");
        ASSERT_OK(artifact.status());
        Entry &entry = **(*artifact)->entry("gather");
        std::vector<float> result;
        // Kernels go on while the processes are stopped, and so does their
        // time: on a device only what the host waits for is of interest here.
        int rounds = context.device().isAsynchronous() ? 1 : 2;
        for (int round = 0; round < rounds; ++round) {
          pid_t stopper = stopAllRanks(context, 0.1, shortTimeout + 1);
          // Once all ranks meet before the call, once they wait in it.
          if (context.rank() == 2)
            usleep(300000);
          ASSERT_OK(callExchange(context, entry, behave, 0,
                                 rowsOf(context.rank(), round), result));
          EXPECT_EQ(result, gathered(3, round));
          endStopper(stopper);
        }
      },
      shortTimeout);
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
    EXPECT_EQ(status.details().origin, 1);
    EXPECT_EQ(status.details().rank, context.rank());
    if (context.rank() != 1) {
      EXPECT_EQ(status.details().cause, MOERT_INVALID_ARGUMENT);
    }
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
