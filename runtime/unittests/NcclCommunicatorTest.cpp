//===- NcclCommunicatorTest.cpp - making and borrowing communicators ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NCCL/LentCommunicator.h"
#include "NCCL/OwnCommunicator.h"
#include "NcclGroup.h"

using namespace moe::rt;
using namespace moe::rt::nccl;
using namespace moe::rt::tests;

namespace {
class NcclCommunicatorTest : public NcclTest {};

bool contains(const Status &status, const std::string &text) {
  return status.message().find(text) != std::string::npos;
}

/// A communicator of the program's own, whose calls block unless said.
class ForeignComm {
public:
  ForeignComm(NcclRank &rank, int number, int size, bool isBlocking = true) {
    api = *Library::get();
    UniqueId id{};
    std::vector<UniqueId> all(rank.size());
    if (number == 0) {
      EXPECT_EQ(api->getUniqueId(&id), success);
    }
    EXPECT_OK(rank.context.boot().allGather(&id, sizeof(id), all.data()));
    for (const UniqueId &one : all)
      if (one.bytes[0] && number != 0)
        id = one;
    cuda::Current here(*rank.backend().gpuOfRank());
    Config config(api->version);
    config.blocking = isBlocking;
    Result made = api->commInitRankConfig(&handle, size, id, number, &config);
    while (made == inProgress)
      EXPECT_EQ(api->commGetAsyncError(handle, &made), success);
    EXPECT_EQ(made, success);
  }
  ~ForeignComm() {
    if (!handle)
      return;
    // It is as it was: nobody else has destroyed or aborted it.
    int count = 0;
    EXPECT_EQ(api->commCount(handle, &count), success);
    EXPECT_EQ(api->commDestroy(handle), success);
  }
  ForeignComm(const ForeignComm &) = delete;
  void abort() {
    EXPECT_EQ(api->commAbort(handle), success);
    handle = nullptr;
  }

  CommHandle handle = nullptr;

private:
  const Library *api;
};
} // namespace

TEST_F(NcclCommunicatorTest, RanksThatFailToConnectFailTogether) {
  setFault("fail-init@1");
  run(3, [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_FALSE(made.isOk());
    const Status &status = made.status();
    EXPECT_EQ(status.code(), rank.rank() == 1 ? MOERT_IO : MOERT_PEER_FAILED);
    EXPECT_TRUE(contains(status, "making a communicator: NCCL on rank 1 (host"))
        << status.message();
    EXPECT_TRUE(contains(status, "reports ncclSystemError (unhandled system "
                                 "error (run with NCCL_DEBUG=INFO for "
                                 "details)); the last warning of NCCL: "
                                 "stand-in: no socket interface "
                                 "found"))
        << status.message();
  });
}

TEST_F(NcclCommunicatorTest, RankThatNeverComes) {
  setFault("hang-init@1");
  run(2, [](NcclRank &rank) {
    auto made = OwnCommunicator::create(**Library::get(), rank.group(0.5));
    ASSERT_FALSE(made.isOk());
    // Who is first tells the other.
    EXPECT_TRUE(made.status().code() == MOERT_TIMEOUT ||
                made.status().code() == MOERT_PEER_FAILED);
    EXPECT_TRUE(contains(made.status(), "has not connected to all of the 2 "
                                        "ranks within 0.5 s"))
        << made.status().message();
    // The next attempt is not disturbed by it.
    auto again = OwnCommunicator::create(**Library::get(), rank.group());
    EXPECT_TRUE(again.isOk()) << again.status().message();
  });
}

TEST_F(NcclCommunicatorTest, TwoRanksOnOneGpu) {
  auto body = [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_FALSE(made.isOk());
    EXPECT_EQ(made.status().code(), MOERT_UNAVAILABLE);
    EXPECT_TRUE(contains(made.status(), "ranks 0 and 1 share GPU 0 of host "))
        << made.status().message();
  };
  run(2, body, /*device=*/0);
}

/// Where the runtime lets ranks share a GPU, it is NCCL that refuses them.
TEST_F(NcclCommunicatorTest, RanksThatNcclRefuses) {
  setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 1);
  auto body = [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_FALSE(made.isOk());
    EXPECT_TRUE(contains(made.status(), "ncclInvalidUsage"));
    EXPECT_TRUE(contains(made.status(), "Duplicate GPU detected"))
        << made.status().message();
  };
  run(2, body, /*device=*/0);
  unsetenv("NCCL_MULTI_RANK_GPU_ENABLE");
}

TEST_F(NcclCommunicatorTest, VersionsThatDiffer) {
  run(2, [](NcclRank &rank) {
    Library library = **Library::get();
    library.version = rank.rank() ? 22105 : 22809;
    auto made = OwnCommunicator::create(library, rank.group());
    ASSERT_FALSE(made.isOk());
    EXPECT_EQ(made.status().code(), MOERT_UNAVAILABLE);
    EXPECT_EQ(made.status().message(),
              "rank 0 has NCCL 2.28.9, but rank 1 has 2.21.5: install the same "
              "on all hosts");
  });
}

TEST_F(NcclCommunicatorTest, TooOldToMakeOne) {
  run(2, [](NcclRank &rank) {
    Library library = **Library::get();
    library.version = 20908;
    library.commInitRankConfig = nullptr;
    auto made = OwnCommunicator::create(library, rank.group());
    ASSERT_FALSE(made.isOk());
    EXPECT_EQ(made.status().code(), MOERT_UNAVAILABLE);
    EXPECT_TRUE(contains(made.status(), "install 2.14.0 or later, or lend a "
                                        "communicator"))
        << made.status().message();
  });
}

TEST_F(NcclCommunicatorTest, NullIsLent) {
  run(2, [](NcclRank &rank) {
    auto made = rank.create({/*hasNccl=*/true, nullptr});
    ASSERT_FALSE(made.isOk());
    EXPECT_EQ(made.status().code(), MOERT_INVALID_ARGUMENT);
    EXPECT_TRUE(contains(made.status(), "is null"));
    EXPECT_TRUE(contains(made.status(), "pass device_id, or lend none"));
  });
}

TEST_F(NcclCommunicatorTest, LentByOneRankAlone) {
  run(2, [](NcclRank &rank) {
    auto made = rank.create({/*hasNccl=*/rank.rank() == 1, nullptr});
    ASSERT_FALSE(made.isOk());
    EXPECT_EQ(made.status().code(), MOERT_COLLECTIVE_MISMATCH);
    EXPECT_TRUE(contains(made.status(), "all ranks lend one, or none does"))
        << made.status().message();
  });
}

TEST_F(NcclCommunicatorTest, LentOneIsUsedAndStays) {
  run(2, [](NcclRank &rank) {
    ForeignComm comm(rank, rank.rank(), 2);
    auto made = rank.create({/*hasNccl=*/true, comm.handle});
    ASSERT_TRUE(made.isOk()) << made.status().message();
    char *send = rank.allocate(8, 10 + rank.rank());
    char *recv = rank.allocate(16);
    TimeGuard guard;
    EXPECT_OK((*made)->allGather({{send, recv, 8}}, StreamRef{}, guard));
    EXPECT_TRUE(rank.isDone(20));
    std::vector<char> expected(8, 10);
    expected.resize(16, 11);
    EXPECT_EQ(rank.read(recv, 16), expected);
    EXPECT_OK((*made)->poll());
    EXPECT_OK((*made)->reset(rank.context.boot()));
    (*made)->stop();
    made->reset();
    EXPECT_OK(rank.context.boot().barrier());
  });
}

TEST_F(NcclCommunicatorTest, LentOneThatDoesNotFit) {
  run(2, [](NcclRank &rank) {
    // The ranks are numbered the other way round.
    ForeignComm comm(rank, 1 - rank.rank(), 2);
    auto made = rank.create({/*hasNccl=*/true, comm.handle});
    ASSERT_FALSE(made.isOk());
    EXPECT_EQ(made.status().code(), MOERT_INVALID_ARGUMENT);
    EXPECT_EQ(made.status().message(),
              format("the NCCL communicator that rank %d lends does not fit "
                     "the group: its rank is %d, expected %d; lend the one of "
                     "the same ranks in the same order, on the same GPUs",
                     rank.rank(), 1 - rank.rank(), rank.rank()));
  });
  run(2, [](NcclRank &rank) {
    // One for each rank alone.
    ForeignComm comm(rank, 0, 1);
    auto made = rank.create({/*hasNccl=*/true, comm.handle});
    ASSERT_FALSE(made.isOk());
    EXPECT_TRUE(contains(made.status(), rank.rank()
                                            ? "its rank is 0, expected 1"
                                            : "its number of ranks is 1, "
                                              "expected 2"))
        << made.status().message();
  });
}

TEST_F(NcclCommunicatorTest, LentByAProgramWithItsOwnNccl) {
  run(2, [](NcclRank &rank) {
    ForeignComm comm(rank, rank.rank(), 2);
    Library library = **Library::get();
    library.isOurs = true;
    auto made = LentCommunicator::borrow(library, rank.group(), comm.handle);
    ASSERT_FALSE(made.isOk());
    EXPECT_TRUE(contains(made.status(), "linked into the program"))
        << made.status().message();
  });
}

/// Its calls block, so NCCL would wait for the other rank without a bound.
TEST_F(NcclCommunicatorTest, LentByARankThatConnectsToNobody) {
  setFault("hang-connect@1");
  run(2, [](NcclRank &rank) {
    ForeignComm comm(rank, rank.rank(), 2);
    auto made = rank.create({/*hasNccl=*/true, comm.handle}, 0.5);
    ASSERT_FALSE(made.isOk());
    EXPECT_TRUE(contains(made.status(), "has not connected to all of the 2 "
                                        "ranks within 0.5 s"))
        << made.status().message();
    comm.abort();
  });
}

/// What one rank has queued would receive the messages of the next exchange.
TEST_F(NcclCommunicatorTest, LentOneIsNotResetWhileAnExchangeIsUnderWay) {
  run(2, [](NcclRank &rank) {
    ForeignComm comm(rank, rank.rank(), 2);
    auto made = rank.create({/*hasNccl=*/true, comm.handle});
    ASSERT_TRUE(made.isOk()) << made.status().message();
    char *send = rank.allocate(8), *recv = rank.allocate(16);
    TimeGuard guard;
    if (rank.rank() == 0) {
      EXPECT_OK((*made)->allGather({{send, recv, 8}}, StreamRef{}, guard));
    }
    Status status = (*made)->reset(rank.context.boot());
    EXPECT_TRUE(contains(status, "an exchange may still be under way"))
        << status.message();
    if (rank.rank() == 1) {
      EXPECT_OK((*made)->allGather({{send, recv, 8}}, StreamRef{}, guard));
    }
    EXPECT_TRUE(rank.isDone(20));
    EXPECT_OK((*made)->reset(rank.context.boot()));
  });
}

namespace {
class Refusing : public ExchangeGuard {
public:
  Status check(int peer) override {
    EXPECT_GE(peer, 0);
    EXPECT_LT(peer, 2);
    return Status(MOERT_PEER_FAILED, "the group has failed");
  }
};
} // namespace

/// One that does not block queues a call later, and is asked until then.
TEST_F(NcclCommunicatorTest, GuardEndsTheWaitForNccl) {
  run(2, [](NcclRank &rank) {
    ForeignComm comm(rank, rank.rank(), 2, /*isBlocking=*/false);
    auto made = rank.create({/*hasNccl=*/true, comm.handle});
    ASSERT_TRUE(made.isOk()) << made.status().message();
    char *send = rank.allocate(8), *recv = rank.allocate(16);
    Refusing guard;
    Status status = (*made)->allGather({{send, recv, 8}}, StreamRef{}, guard);
    EXPECT_EQ(status.message(), "the group has failed");
    // What it has queued is carried out nevertheless.
    EXPECT_TRUE(rank.isDone(20));
    EXPECT_OK(rank.context.boot().barrier());
  });
}

/// The runtime's own is connected, so that no call of it waits for anybody.
TEST_F(NcclCommunicatorTest, OwnOneQueuesCallsAtOnce) {
  run(2, [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_TRUE(made.isOk()) << made.status().message();
    char *send = rank.allocate(8, 10 + rank.rank());
    char *recv = rank.allocate(16);
    Refusing guard;
    EXPECT_OK((*made)->allGather({{send, recv, 8}}, StreamRef{}, guard));
    EXPECT_TRUE(rank.isDone(20));
    std::vector<char> expected(8, 10);
    expected.resize(16, 11);
    EXPECT_EQ(rank.read(recv, 16), expected);
  });
}
