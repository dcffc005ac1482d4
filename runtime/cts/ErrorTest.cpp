//===- ErrorTest.cpp - conformance: errors reach all ranks ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Artifacts.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
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

static void expectParts(const Status &status,
                        std::initializer_list<const char *> parts) {
  for (const char *part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "no '" << part << "' in: " << status.message();
}

/// Calls the entry that rotates a row a number of times.
static Status callRotateTimes(Context &context, Entry &entry, int64_t times) {
  float row[4] = {};
  int64_t shape[2] = {1, 4};
  DLTensor number{}, matrix{};
  number.data = &times;
  number.dtype = {kDLInt, 64, 1};
  matrix.data = row;
  matrix.dtype = {kDLFloat, 32, 1};
  matrix.ndim = 2;
  matrix.shape = shape;
  number.device = matrix.device = {kDLCPU, 0};
  std::vector<DLManagedTensor *> outputs;
  Status status = context.call(entry, {&number, &matrix}, outputs);
  if (status.isOk())
    outputs[0]->deleter(outputs[0]);
  return status;
}

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

/// Another process kills this one after `delay` seconds.
static void dieLater(double delay) {
  pid_t mine = getpid();
  if (fork() != 0)
    return;
  usleep(unsigned(delay * 1e6));
  kill(mine, SIGKILL);
  _exit(0);
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
        expectParts(status, {"call of entry 'gather' of artifact art",
                             "timed out after 0.5 s waiting for rank 2 to "
                             "arrive; rank 2 was last seen not in a call"});
        EXPECT_EQ(status.details().peer, 2);
        EXPECT_EQ(status.details().expected,
                  "call of entry 'gather' of artifact art");
        EXPECT_EQ(status.details().seen, "not in a call");
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

static std::string readAll(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

/// A manifest tells little of a module: two may agree in it, and do different
/// things.
TEST_P(ErrorTest, BytesThatDifferAreAMismatchOnAllRanks) {
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
TEST_P(ErrorTest, CallsOfDifferentLoadsAreAMismatchOnAllRanks) {
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

/// Loops with different trip counts, say. Who waits is told at once of both
/// collectives, though devices may still be busy with them.
TEST_P(ErrorTest, CollectiveThatOneRankCallsMoreOften) {
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
TEST_P(ErrorTest, CollectiveThatMeetsTheNextCalls) {
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

/// As by Ctrl-Z, or where a container is frozen: the time-out is for ranks that
/// are late while others run.
TEST_P(ErrorTest, RanksThatAreStoppedTogetherAreNotLate) {
  if (GetParam() == RankKind::Threads)
    return; // that are stopped with the test
  runGroup(
      GetParam(), 3,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange3"), "art");
        ASSERT_OK(artifact.status());
        Entry &entry = **(*artifact)->entry("gather");
        std::vector<float> result;
        // Kernels go on while the processes are stopped, and so does their
        // time: on a device only what the host waits for is of interest here.
        int rounds = context.device().isAsynchronous() ? 1 : 2;
        for (int round = 0; round < rounds; ++round) {
          pid_t stopper = stopAllRanks(context, 0.1, 0.9);
          // Once all ranks meet before the call, once they wait in it.
          if (context.rank() == 2)
            usleep(300000);
          ASSERT_OK(callExchange(context, entry, behave, 0,
                                 rowsOf(context.rank(), round), result));
          EXPECT_EQ(result, gathered(3, round));
          endStopper(stopper);
        }
      },
      0.6);
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

TEST_F(ProcessTest, ResetAfterADeathSaysSo) {
  runGroup(
      RankKind::Processes, 3,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange3"), "art");
        ASSERT_OK(artifact.status());
        if (context.rank() == 2)
          _exit(0);
        std::vector<float> result;
        Status status = callExchange(context, **(*artifact)->entry("gather"),
                                     behave, 0, {}, result);
        EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
        status = context.reset();
        EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
        expectParts(status,
                    {"the group cannot be reset: rank 2 (process ",
                     ") died not in a call; the ranks that are left have to "
                     "make a new group"});
      },
      20, {2});
}

/// While its GPU waits for others, a rank is past its last collective.
TEST_F(ProcessTest, DeathOfARankThatWaitsForItsDevice) {
  runGroup(
      RankKind::Processes, 4,
      [](Context &context) {
        auto artifact = context.load(artifactPath("exchange4"), "art");
        ASSERT_OK(artifact.status());
        Entry &entry = **(*artifact)->entry("rotate_times");
        ASSERT_OK(callRotateTimes(context, entry, 1));
        if (context.rank() == 1) {
          // Rank 2 does not get to its second rotation, which rank 3 needs.
          usleep(600000);
          return;
        }
        if (context.rank() == 2)
          dieLater(0.2);
        Status status = callRotateTimes(context, entry, 2);
        if (context.rank() != 3)
          return;
        EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
        bool isAsynchronous = context.device().isAsynchronous();
        expectParts(
            status,
            {isAsynchronous ? "call of entry 'rotate_times' of artifact art: "
                              "waiting for the GPU: rank 2 (process "
                            : "test.rotate at exchange.c:3:3, phase 'rotate': ",
             isAsynchronous
                 ? ") died waiting for its GPU in the call of entry "
                   "'rotate_times' of artifact art, where the last collective "
                   "is test.rotate at exchange.c:3:3"
                 : "waiting for a signal"});
      },
      20, {2});
}

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
