//===- SeveralHostsTest.cpp - tests of groups on several hosts ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostGroup.h"
#include "TestSupport.h"
#include "moe-runtime/HostBootstrap.h"
#include "moe-runtime/MemoryFile.h"

#include <cstring>
#include <sys/stat.h>

using namespace moe::rt;
using namespace moe::rt::tests;

//===----------------------------------------------------------------------===//
// The ranks of a host
//===----------------------------------------------------------------------===//

namespace {
class HostBootstrapTest : public ::testing::TestWithParam<Kind> {};
} // namespace

INSTANTIATE_TEST_SUITE_P(All, HostBootstrapTest,
                         ::testing::Values(Kind::Threads, Kind::Sockets,
                                           Kind::Callbacks, Kind::Messages));

TEST_P(HostBootstrapTest, AllGathersAndDescriptorsStayInside) {
  const Hosts hosts = "abab";
  Group group(GetParam(), 4);
  group.run([&](Bootstrap &bootstrap) {
    int rank = bootstrap.rank();
    auto map = HostMap::create(
        bootstrap, HostIdentity::find(std::string(1, hosts[rank]).c_str()));
    ASSERT_TRUE(map.isOk()) << map.status().message();
    auto part = createHostBootstrap(bootstrap, *map);
    EXPECT_EQ(part->size(), 2);
    EXPECT_EQ(part->rank(), rank / 2);
    int all[2];
    EXPECT_OK(part->allGather(&rank, sizeof(rank), all));
    EXPECT_EQ(all[0], rank % 2);
    EXPECT_EQ(all[1], rank % 2 + 2);
    EXPECT_EQ(part->rankInWhole(1), all[1]);
    // Texts may be longer on other hosts.
    auto texts = allGatherText(*part, std::string(100 * rank, 'x'));
    ASSERT_TRUE(texts.isOk()) << texts.status().message();
    EXPECT_EQ((*texts)[1].size(), size_t(100 * all[1]));
    UniqueFd mine = createMemoryFile(1000 + rank).take();
    std::vector<UniqueFd> fds;
    EXPECT_OK(part->exchangeFds(mine.get(), fds));
    ASSERT_EQ(fds.size(), 2u);
    for (int r : {0, 1}) {
      struct stat info;
      EXPECT_EQ(fstat(fds[r].get(), &info), 0);
      EXPECT_EQ(info.st_size, 1000 + all[r]);
    }
    // What one host cannot do, none goes on with.
    Status status =
        agreeStatus(*part, rank == 3 ? Status(MOERT_IO, "disk") : Status::ok());
    EXPECT_FALSE(status.isOk());
    if (rank != 3) {
      EXPECT_EQ(status.message(), "rank 3 failed: disk");
    }
  });
}

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

TEST(SeveralHostsTest, HostsAndHeapsOfARank) {
  runOnHosts("aabb", [](Context &context) {
    EXPECT_EQ(context.hosts().describe(),
              "host-a (ranks 0 and 1) and host-b (ranks 2 and 3)");
    EXPECT_EQ(context.onHost().size(), 2);
    EXPECT_EQ(context.onHost().rank(), context.rank() % 2);
    // Inside of a host it is what it always was.
    auto block = context.heap().allocate(4096);
    ASSERT_TRUE(block.isOk()) << block.status().message();
    int mine = context.rank(), neighbour = -1;
    std::memcpy(*block, &mine, sizeof(mine));
    EXPECT_OK(context.boot().barrier());
    std::memcpy(&neighbour,
                context.heap().peer(*block, 1 - context.onHost().rank()),
                sizeof(neighbour));
    EXPECT_EQ(neighbour, context.rank() ^ 1);
    EXPECT_OK(context.heap().free(*block));
  });
}

TEST(SeveralHostsTest, WhatNeedsSharedMemoryIsRefused) {
  runOnHosts("ab", [](Context &context) {
    auto block = context.symmAlloc(100);
    EXPECT_EQ(block.status().code(), MOERT_UNAVAILABLE);
    expectPart(block.status().message(), "host-a (rank 0) and host-b (rank 1)");
    auto loaded = context.load(artifact("exchange2"), "exchange.so");
    EXPECT_EQ(loaded.status().code(), MOERT_UNAVAILABLE);
    for (const char *part : {"2 hosts, host-a (rank 0) and host-b (rank 1)",
                             "--transport=messages"})
      expectPart(loaded.status().message(), part);
    // The group is as it was.
    EXPECT_OK(context.check());
    auto local = context.load(artifact("local"), "local.so");
    EXPECT_OK(local.status());
    if (local.isOk()) {
      EXPECT_OK(context.unload(*local));
    }
  });
}

TEST(SeveralHostsTest, OperationsAreComparedAcrossHosts) {
  runOnHosts("abc", [](Context &context) {
    for (int round = 0; round < 20; ++round) {
      auto loaded = context.load(artifact("local"), "local.so");
      ASSERT_TRUE(loaded.isOk()) << loaded.status().message();
      EXPECT_OK(context.unload(*loaded));
    }
    // An error of one rank alone is known to all, and breaks nothing.
    bool isBad = context.rank() == 2;
    auto loaded = context.load(isBad ? "/none.so" : artifact("local"), "it.so");
    EXPECT_EQ(loaded.status().code(), isBad ? MOERT_IO : MOERT_PEER_FAILED)
        << loaded.status().message();
    EXPECT_OK(context.check());
    auto again = context.load(artifact("local"), "local.so");
    ASSERT_TRUE(again.isOk()) << again.status().message();
    // Different things are an error of all.
    Status status;
    if (context.rank() == 1)
      status = context.load(artifact("local"), "local.so").status();
    else
      status = context.unload(*again);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
  });
}

TEST(SeveralHostsTest, AnErrorIsSeenOnAllHosts) {
  runOnHosts("abcb", [](Context &context) {
    for (int round = 0; round < 3; ++round) {
      int origin = (round + 1) % 4;
      if (context.rank() == origin) {
        Status error = makeError(MOERT_INVALID_COUNT, "count %d is odd", round)
                           .expecting("even", "odd");
        EXPECT_FALSE(context.fail(error).isOk());
      }
      waitUntil("the error", [&] { return !context.check().isOk(); });
      Status seen = context.check();
      EXPECT_EQ(context.originRank(), origin);
      EXPECT_EQ(seen.code(), context.rank() == origin ? MOERT_INVALID_COUNT
                                                      : MOERT_PEER_FAILED);
      expectPart(seen.message(), format("rank %d: ", origin) +
                                     format("count %d is odd", round));
      EXPECT_EQ(seen.details().seen, "odd");
      EXPECT_EQ(seen.details().origin, origin);
      EXPECT_OK(context.reset());
      EXPECT_OK(context.check());
      EXPECT_EQ(context.originRank(), -1);
      EXPECT_OK(context.boot().barrier());
    }
  });
}

/// Errors that are on their way when all ranks reset are of the past.
TEST(SeveralHostsTest, NoErrorOutlivesAReset) {
  runOnHosts("aabbcc", [](Context &context) {
    for (int round = 0; round < 50; ++round) {
      if (round % 6 == context.rank())
        (void)context.fail(makeError(MOERT_INVALID_COUNT, "round %d", round));
      ASSERT_TRUE(context.reset().isOk());
      Status status = context.check();
      ASSERT_TRUE(status.isOk()) << status.message();
      EXPECT_OK(context.boot().barrier());
    }
  });
}

TEST(SeveralHostsTest, WhoLeavesIsKnownToHaveLeft) {
  runOnHosts("aabb", [](Context &context) {
    GroupControl &group = context.control();
    if (context.rank() == 3)
      return;
    waitUntil("rank 3 leaves", [&] { return group.hasLeft(3); });
    expectPart(group.checkAlive(3).message(), "rank 3 has left the group");
    EXPECT_OK(context.check());
    if (context.rank() == 2)
      return;
    waitUntil("rank 2 leaves", [&] { return group.hasLeft(2); });
    EXPECT_OK(context.check());
  });
}

TEST(SeveralHostsTest, WhereARankIsIsSeenFromOtherHosts) {
  std::atomic<bool> isSeen{false};
  runOnHosts("ab", [&](Context &context) {
    GroupControl &group = context.control();
    if (context.rank() == 1) {
      group.beginGroupOp({GroupOp::Call, 1, "call of it", Status::ok()});
      group.beginCollective("moe.dispatch", "a.mlir:1:1", 3, 7);
      group.setPhase("put");
      waitUntil("rank 0 looks", [&] { return isSeen.load(); });
      return;
    }
    waitUntil("the phase arrives", [&] {
      return group.lastSeen(1) == "in moe.dispatch at a.mlir:1:1, phase 'put'";
    });
    isSeen = true;
  });
}

//===----------------------------------------------------------------------===//
// Faults
//===----------------------------------------------------------------------===//

/// What a rank finds that waits for `peer` until something is wrong.
static Status waitInVain(Context &context, int peer) {
  Status status;
  waitUntil("something is wrong", [&] {
    status = context.control().checkGroup();
    if (status.isOk())
      status = context.control().checkAlive(peer);
    return !status.isOk();
  });
  return status;
}

TEST(SeveralHostsProcessTest, AFarRankThatDies) {
  HostProcesses group("aabb", [](Context &context) {
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 3) {
      context.control().beginGroupOp({GroupOp::Call, 1, "call", {}});
      kill(getpid(), SIGKILL);
    }
    Status status = waitInVain(context, 3);
    EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
    expectPart(status.message(), "rank 3 (process ");
    if (context.rank() < 2) {
      expectPart(status.message(), "on host-b) died");
    }
    EXPECT_OK(context.check());
    EXPECT_EQ(context.reset().code(), MOERT_PEER_FAILED);
  });
  EXPECT_EQ(group.end(3), 128 + SIGKILL);
  for (int r : {0, 1, 2})
    EXPECT_EQ(group.end(r), 0);
}

TEST(SeveralHostsProcessTest, ALeaderThatDies) {
  HostProcesses group("aabbc", [](Context &context) {
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 2)
      kill(getpid(), SIGKILL);
    // Rank 3 is on the host of rank 2, and waits for one of another.
    Status status = waitInVain(context, context.rank() == 3 ? 0 : 2);
    EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
    if (context.rank() == 3) {
      expectPart(status.message(), "rank 2 (process ");
      expectPart(status.message(), "in touch with other hosts");
      return;
    }
    for (const char *part :
         {"lost host host-b (ranks 2 and 3)", "rank 2", "rank 3 was last seen"})
      expectPart(status.message(), part);
    // That ranks are lost is known a little earlier than whose error it is.
    waitUntil("rank 2 is named", [&] { return context.originRank() == 2; });
    EXPECT_EQ(context.reset().code(), MOERT_PEER_FAILED);
  });
  EXPECT_EQ(group.end(2), 128 + SIGKILL);
  for (int r : {0, 1, 3, 4})
    EXPECT_EQ(group.end(r), 0);
}

TEST(SeveralHostsProcessTest, RankZeroThatDies) {
  HostProcesses group("aabbc", [](Context &context) {
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 0)
      kill(getpid(), SIGKILL);
    Status status = waitInVain(context, 0);
    EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
    if (context.rank() > 1) {
      expectPart(status.message(), "lost host host-a (ranks 0 and 1)");
    }
  });
  EXPECT_EQ(group.end(0), 128 + SIGKILL);
  for (int r : {1, 2, 3, 4})
    EXPECT_EQ(group.end(r), 0);
}

/// A host that does not run at all, such as one that is cut off.
TEST(SeveralHostsProcessTest, AHostThatIsSilent) {
  HostProcesses group(
      "aabb",
      [](Context &context) {
        EXPECT_OK(context.boot().barrier());
        if (context.rank() >= 2)
          kill(getpid(), SIGSTOP);
        Status status = waitInVain(context, 3);
        for (const char *part :
             {"lost host host-b (ranks 2 and 3)", "has brought nothing for 2 s",
              "rank 2 was last seen not in a call"})
          expectPart(status.message(), part);
      },
      /*timeoutSeconds=*/8);
  for (int r : {0, 1})
    EXPECT_EQ(group.end(r), 0);
}

TEST(SeveralHostsProcessTest, AForkedChildLeavesTheLinkAlone) {
  HostProcesses group("ab", [](Context &context) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
      // The destructor of the context, as a child runs it.
      delete &context;
      _exit(0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_OK(context.boot().barrier());
    EXPECT_OK(context.check());
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 1)
      (void)context.fail(Status(MOERT_INVALID_COUNT, "wrong"));
    waitUntil("the error", [&] { return !context.check().isOk(); });
  });
  for (int r : {0, 1})
    EXPECT_EQ(group.end(r), 0);
}
