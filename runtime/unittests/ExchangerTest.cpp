//===- ExchangerTest.cpp - tests of transports of messages ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Exchanger.h"
#include "../tests/PairBytes.h"
#include "BootstrapGroup.h"
#include "moe-runtime/GroupControl.h"
#include "moe-runtime/SymmetricHeap.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

using namespace moe::rt;
using namespace moe::rt::tests;

namespace {
/// A rank with all that an exchanger is made from.
class Rank {
public:
  Rank(Bootstrap &bootstrap, HostMap hosts) : boot(bootstrap), map(hosts) {
    control = GroupControl::create(boot).take();
    backend = createHostBackend(boot).take();
    heap = SymmetricHeap::create(*backend, boot, size_t(256) << 20).take();
  }
  ExchangerSetup setup() { return {boot, map, *backend, *control, *heap}; }
  int number() const { return boot.rank(); }
  int size() const { return boot.size(); }

  Bootstrap &boot;
  HostMap map;
  std::unique_ptr<GroupControl> control;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SymmetricHeap> heap;
};

/// Gives up after some questions.
class TestGuard : public ExchangeGuard {
public:
  explicit TestGuard(int mostAsked = INT32_MAX) : mostAsked(mostAsked) {}

  Status check(int peer) override {
    asked.push_back(peer);
    if (int(asked.size()) < mostAsked && nowNs() < deadline)
      return Status::ok();
    return makeError(MOERT_TIMEOUT, "asked about rank %d", peer);
  }
  void progressed() override {
    ++numProgressed;
    deadline = nowNs() + patienceNs;
  }

  std::vector<int> asked;
  int numProgressed = 0;

private:
  /// Without progress, on a machine that has other things to do.
  static constexpr int64_t patienceNs = int64_t(30e9);

  int mostAsked;
  int64_t deadline = nowNs() + patienceNs;
};
} // namespace

/// Runs `body` on ranks that are threads, each with an exchanger.
static void runRanks(int size,
                     const std::function<void(Rank &, Exchanger &)> &body) {
  Group(Kind::Threads, size).run([&](Bootstrap &bootstrap) {
    Rank rank(bootstrap, HostMap::oneHost(size));
    auto exchanger = createSharedMemoryExchanger(rank.setup());
    ASSERT_TRUE(exchanger.isOk()) << exchanger.status().message();
    body(rank, **exchanger);
    EXPECT_OK(bootstrap.barrier());
  });
}

/// Sends `sent[p]` bytes to each rank p, and expects `received[p]` of it.
/// Checks what has come.
static Status exchangeBytes(Rank &rank, Exchanger &exchanger,
                            std::vector<int32_t> sent,
                            std::vector<int32_t> received,
                            ExchangeGuard &guard) {
  std::vector<int32_t> sendStarts, recvStarts;
  std::vector<char> send, recv, expected;
  for (int p = 0; p < rank.size(); ++p) {
    sendStarts.push_back(int32_t(send.size()));
    recvStarts.push_back(int32_t(expected.size()));
    appendPairBytes(send, rank.number(), p, sent[p]);
    appendPairBytes(expected, p, rank.number(), received[p]);
  }
  recv.resize(expected.size());
  Status status =
      exchanger.exchange({{send.data(), sendStarts.data(), sent.data(),
                           recv.data(), recvStarts.data(), received.data(), 1}},
                         StreamRef{}, guard);
  EXPECT_TRUE(!status.isOk() || recv == expected);
  return status;
}

/// Sizes around those of headers, chunks and rings, one after the other, so
/// that messages begin at all positions.
TEST(SharedMemoryExchangerTest, MessagesOfAllSizesAtAllPositions) {
  runRanks(2, [](Rank &rank, Exchanger &exchanger) {
    TestGuard guard;
    std::vector<int32_t> sizes;
    for (int32_t around : {16, 65536, 65536 - 16, 4 * 65536, 4 * 65536 - 16})
      for (int32_t off : {-3, -1, 0, 1, 2})
        sizes.push_back(around + off);
    int peer = 1 - rank.number();
    for (size_t i = 0; i < 4 * sizes.size(); ++i) {
      int32_t mine = sizes[(i * 7) % sizes.size()];
      int32_t theirs = sizes[(i * 3 + 1) % sizes.size()];
      if (rank.number() == 1)
        std::swap(mine, theirs);
      std::vector<int32_t> sent(2, 5), received(2, 5);
      sent[peer] = mine;
      received[peer] = theirs;
      EXPECT_OK(exchangeBytes(rank, exchanger, sent, received, guard));
    }
    EXPECT_GT(guard.numProgressed, 0);
  });
}

TEST(SharedMemoryExchangerTest, MemoryIsBoundedHoweverManyRanks) {
  for (int size : {1, 2, 3, 8, 64})
    runRanks(size, [&](Rank &rank, Exchanger &) {
      EXPECT_LE(rank.heap->usedBytes(), (size_t(1) << 20) + 64 * (size + 4));
    });
}

/// Ranks get through exchanges though nobody runs as soon as it could.
TEST(SharedMemoryExchangerTest, ManyMoreRanksThanProcessors) {
  runRanks(24, [](Rank &rank, Exchanger &exchanger) {
    TestGuard guard;
    for (int round = 0; round < 10; ++round) {
      std::vector<int32_t> sent(24), received(24);
      for (int p = 0; p < 24; ++p) {
        sent[p] = (rank.number() * 5 + p * 3 + round) % 4 * 900;
        received[p] = (p * 5 + rank.number() * 3 + round) % 4 * 900;
      }
      EXPECT_OK(exchangeBytes(rank, exchanger, sent, received, guard));
    }
  });
}

namespace {
/// Gives up after some questions in a row about one rank. While two are late,
/// questions alternate.
class PersistentGuard : public TestGuard {
public:
  Status check(int peer) override {
    inARow = !asked.empty() && asked.back() == peer ? inARow + 1 : 1;
    Status status = TestGuard::check(peer);
    if (status.isOk() && inARow == 20)
      status = makeError(MOERT_TIMEOUT, "asked about rank %d", peer);
    return status;
  }

private:
  int inARow = 0;
};
} // namespace

TEST(SharedMemoryExchangerTest, GuardIsAskedAboutTheRankThatIsMissing) {
  runRanks(3, [](Rank &rank, Exchanger &exchanger) {
    if (rank.number() == 2)
      return;
    PersistentGuard guard;
    std::vector<int32_t> some(3, 10);
    Status status = exchangeBytes(rank, exchanger, some, some, guard);
    EXPECT_EQ(status.message(), "asked about rank 2");
  });
}

/// A rank whose ring nobody empties.
TEST(SharedMemoryExchangerTest, GuardIsAskedAboutTheRankThatDoesNotReceive) {
  runRanks(2, [](Rank &rank, Exchanger &exchanger) {
    if (rank.number() == 1)
      return;
    TestGuard guard(5);
    EXPECT_EQ(
        exchangeBytes(rank, exchanger, {0, 3000000}, {0, 0}, guard).message(),
        "asked about rank 1");
    EXPECT_EQ(guard.asked, std::vector<int>(5, 1));
  });
}

TEST(SharedMemoryExchangerTest, CountsThatDiffer) {
  runRanks(2, [](Rank &rank, Exchanger &exchanger) {
    TestGuard guard;
    bool isReceiver = rank.number() == 1;
    // What rank 0 sends in two exchanges, and what rank 1 expects.
    struct Case {
      int32_t sent[2], expected[2];
      const char *message;
    };
    for (const Case &c :
         {Case{
              {40, 1}, {41, 1}, "rank 0 sends 40 bytes, but rank 1 expects 41"},
          Case{{0, 1},
               {3, 1},
               "rank 0 sends nothing, but rank 1 expects 3 "
               "bytes"},
          Case{{7, 1},
               {0, 1},
               "rank 0 has sent 7 bytes in an earlier exchange, in which rank "
               "1 expected nothing"}}) {
      Status status;
      for (int i = 0; i < 2 && status.isOk(); ++i) {
        // Rank 1 comes last, so that nothing else is seen.
        if (isReceiver && i == 0)
          EXPECT_OK(rank.boot.barrier());
        status = isReceiver ? exchangeBytes(rank, exchanger, {0, 0},
                                            {c.expected[i], 0}, guard)
                            : exchangeBytes(rank, exchanger, {0, c.sent[i]},
                                            {0, 0}, guard);
      }
      if (!isReceiver)
        EXPECT_OK(rank.boot.barrier());
      EXPECT_EQ(status.message(), isReceiver ? c.message : "");
      EXPECT_EQ(status.code(), isReceiver ? MOERT_INVALID_COUNT : MOERT_OK);
      EXPECT_EQ(status.details().peer, isReceiver ? 0 : -1);
      EXPECT_OK(exchanger.reset(rank.boot));
    }
  });
}

/// Nothing of a broken exchange is left after a reset, wherever it broke.
TEST(SharedMemoryExchangerTest, ResetForgetsMessagesUnderWay) {
  runRanks(3, [](Rank &rank, Exchanger &exchanger) {
    for (int32_t bytes : {10, 100000, 600000}) {
      if (rank.number() != 2) {
        TestGuard impatient(10);
        std::vector<int32_t> all(3, bytes);
        EXPECT_FALSE(
            exchangeBytes(rank, exchanger, all, all, impatient).isOk());
      }
      EXPECT_OK(exchanger.reset(rank.boot));
      TestGuard guard;
      std::vector<int32_t> all(3, 5000);
      EXPECT_OK(exchangeBytes(rank, exchanger, all, all, guard));
    }
  });
}

//===----------------------------------------------------------------------===//
// The choice of a transport
//===----------------------------------------------------------------------===//

namespace {
/// MOE_TRANSPORT for the time of a test.
class PinnedTransport {
public:
  explicit PinnedTransport(const char *name) {
    setenv("MOE_TRANSPORT", name, /*overwrite=*/1);
  }
  ~PinnedTransport() { unsetenv("MOE_TRANSPORT"); }
};
} // namespace

/// What createExchanger says on two ranks, on `hosts` hosts.
static void expectChoice(int hosts, moert_code code, const char *message) {
  Group(Kind::Threads, 2).run([&](Bootstrap &bootstrap) {
    std::string host = hosts == 1 ? "a" : bootstrap.rank() ? "b" : "a";
    auto map = HostMap::create(bootstrap,
                               HostIdentity{"machine", host, "node-" + host});
    ASSERT_TRUE(map.isOk()) << map.status().message();
    Rank rank(bootstrap, *map);
    auto exchanger = createExchanger(rank.setup());
    EXPECT_EQ(exchanger.status().code(), code);
    if (code == MOERT_OK)
      EXPECT_STREQ((*exchanger)->name(), message);
    else
      EXPECT_NE(exchanger.status().message().find(message), std::string::npos)
          << exchanger.status().message();
    EXPECT_OK(bootstrap.barrier());
  });
}

TEST(CreateExchangerTest, OneHostSharesMemory) {
  expectChoice(1, MOERT_OK, "shared memory");
  PinnedTransport pinned("shared");
  expectChoice(1, MOERT_OK, "shared memory");
}

TEST(CreateExchangerTest, PinnedTransportsHaveToSuitTheGroup) {
  {
    PinnedTransport pinned("pigeons");
    expectChoice(1, MOERT_INVALID_ARGUMENT,
                 "MOE_TRANSPORT is 'pigeons'; expected shared, mpi or nccl");
  }
  {
    PinnedTransport pinned("nccl");
    expectChoice(1, MOERT_UNAVAILABLE,
                 "MOE_TRANSPORT is 'nccl', which moves memory of the cuda "
                 "backend, but the group is on the host backend");
  }
  PinnedTransport pinned("shared");
  expectChoice(2, MOERT_UNAVAILABLE,
               "MOE_TRANSPORT is 'shared', but the group has 2 hosts, a "
               "(rank 0) and b (rank 1), which share no memory");
}
