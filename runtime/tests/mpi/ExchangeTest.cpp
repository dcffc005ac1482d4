//===- ExchangeTest.cpp - rows over MPI -----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ranks.h"
#include "RefusedMemory.h"
#include "SharedCounters.h"

#include "moe-runtime/Deadline.h"
#include "moe-runtime/Exchanger.h"
#include "moe-runtime/GroupControl.h"
#include "moe-runtime/HostBootstrap.h"
#include "moe-runtime/SymmetricHeap.h"

#include <functional>
#include <gtest/gtest.h>
#include <random>

using namespace moe::rt;
using namespace moe::rt::test;

namespace {
/// Gives up once something has happened, and fails after a minute.
class TestGuard : public ExchangeGuard {
public:
  explicit TestGuard(std::function<bool()> hasHappened = nullptr)
      : hasHappened(std::move(hasHappened)) {}
  Status check(int peer) override {
    if (hasHappened && hasHappened())
      return makeError(MOERT_TIMEOUT, "no rows of rank %d", peer)
          .aboutPeer(peer);
    if (!deadline.isOver())
      return Status::ok();
    return makeError(MOERT_INTERNAL, "a minute without rows of rank %d", peer);
  }

private:
  std::function<bool()> hasHappened;
  Deadline deadline{60};
};

/// What an exchanger of all processes is made from.
class MpiExchangeTest : public testing::Test {
protected:
  void SetUp() override {
    boot = makeBootstrap();
    auto map = HostMap::create(*boot);
    ASSERT_TRUE(map.isOk()) << map.status().message();
    hosts = map.take();
    onHost = createHostBootstrap(*boot, hosts);
    auto madeControl = GroupControl::create(*boot, *onHost, hosts);
    ASSERT_TRUE(madeControl.isOk()) << madeControl.status().message();
    control = madeControl.take();
    backend = createHostBackend(*onHost).take();
    auto madeHeap = SymmetricHeap::create(*backend, *onHost, size_t(1) << 30);
    ASSERT_TRUE(madeHeap.isOk()) << madeHeap.status().message();
    heap = madeHeap.take();
    auto made = createMpiExchanger({*boot, hosts, *backend, *control, *heap});
    ASSERT_TRUE(made.isOk()) << made.status().message();
    exchanger = made.take();
    rank = boot->rank();
    size = boot->size();
  }

  std::unique_ptr<mpi::MpiBootstrap> boot;
  HostMap hosts = HostMap::oneHost(1);
  std::unique_ptr<Bootstrap> onHost;
  std::unique_ptr<GroupControl> control;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SymmetricHeap> heap;
  std::unique_ptr<Exchanger> exchanger;
  StreamRef stream;
  int rank = 0, size = 1;
};

/// A pair of buffers with counts that all ranks draw alike.
struct Rows {
  Rows(std::mt19937 &lot, int rank, int size, size_t rowBytes, int most)
      : rowBytes(rowBytes), sendStarts(size), sendCounts(size),
        recvStarts(size), recvCounts(size) {
    std::vector<int32_t> counts(size_t(size) * size);
    for (int32_t &count : counts)
      count = lot() % 4 ? int32_t(lot() % unsigned(most + 1)) : 0;
    int32_t sent = 0, received = 0;
    for (int r = 0; r < size; ++r) {
      sendStarts[r] = sent;
      sent += sendCounts[r] = counts[size_t(rank) * size + r];
      recvStarts[r] = received;
      received += recvCounts[r] = counts[size_t(r) * size + rank];
    }
    send.resize(size_t(sent) * rowBytes);
    recv.resize(size_t(received) * rowBytes, 0x5a);
    // Of the rank that sends it, the one that gets it, and the place.
    for (int r = 0; r < size; ++r)
      for (size_t i = 0; i < size_t(sendCounts[r]) * rowBytes; ++i)
        send[size_t(sendStarts[r]) * rowBytes + i] =
            char(rank * 31 + r * 17 + int(i * 7 + i / 251));
  }
  RowExchange view() {
    return {send.data(), sendStarts.data(), sendCounts.data(),
            recv.data(), recvStarts.data(), recvCounts.data(),
            rowBytes};
  }
  size_t countWrong(int rank, int size) const {
    size_t wrong = 0;
    for (int r = 0; r < size; ++r)
      for (size_t i = 0; i < size_t(recvCounts[r]) * rowBytes; ++i)
        wrong += recv[size_t(recvStarts[r]) * rowBytes + i] !=
                 char(r * 31 + rank * 17 + int(i * 7 + i / 251));
    return wrong;
  }

  size_t rowBytes;
  std::vector<int32_t> sendStarts, sendCounts, recvStarts, recvCounts;
  std::vector<char> send, recv;
};
} // namespace

TEST_F(MpiExchangeTest, RowsOfAnySizeArrive) {
  std::mt19937 lot(1);
  for (int round = 0; round < 30; ++round) {
    std::vector<Rows> rows;
    for (size_t rowBytes : {1, 12, 4096})
      rows.emplace_back(lot, rank, size, rowBytes, round % 3 ? 5 : 300);
    std::vector<RowExchange> views;
    for (Rows &one : rows)
      views.push_back(one.view());
    TestGuard guard;
    Status status = exchanger->exchange(views, stream, guard);
    ASSERT_TRUE(status.isOk()) << status.message();
    for (const Rows &one : rows)
      EXPECT_EQ(one.countWrong(rank, size), 0u);
  }
}

TEST_F(MpiExchangeTest, MoreThanIsUnderWayAtOnce) {
  std::mt19937 lot(2);
  Rows rows(lot, rank, size, 65536, 400);
  TestGuard guard;
  Status status = exchanger->exchange({rows.view()}, stream, guard);
  ASSERT_TRUE(status.isOk()) << status.message();
  EXPECT_EQ(rows.countWrong(rank, size), 0u);
}

TEST_F(MpiExchangeTest, EqualPartsToAll) {
  for (size_t bytes : {0, 4, 700000}) {
    std::vector<char> send(bytes * size_t(size)), recv(send.size()),
        all(send.size());
    for (size_t i = 0; i < send.size(); ++i)
      send[i] = char(rank * 13 + int(i / bytes) * 7 + int(i));
    TestGuard guard;
    Status status =
        exchanger->allToAll({{send.data(), recv.data(), bytes}}, stream, guard);
    ASSERT_TRUE(status.isOk()) << status.message();
    status =
        exchanger->allGather({{send.data(), all.data(), bytes}}, stream, guard);
    ASSERT_TRUE(status.isOk()) << status.message();
    size_t wrong = 0;
    for (size_t i = 0; i < send.size(); ++i) {
      int from = int(i / bytes);
      size_t place = size_t(rank) * bytes + i % bytes;
      wrong += recv[i] != char(from * 13 + rank * 7 + int(place));
      wrong += all[i] != char(from * 13 + int(i % bytes));
    }
    EXPECT_EQ(wrong, 0u);
  }
}

/// What is sent does not wait for the sender's next call of MPI, which may come
/// late: it may compute, or wait for something else.
TEST_F(MpiExchangeTest, WhatIsSentArrivesWhileTheSenderDoesOtherThings) {
  SharedCounters arrived(*boot);
  std::mt19937 lot(3);
  for (int round = 1; round <= 100; ++round) {
    // Around the size from which MPI asks the receiver first.
    Rows rows(lot, rank, size, 23040, 2 + round % 8);
    TestGuard guard;
    Status status = exchanger->exchange({rows.view()}, stream, guard);
    ASSERT_TRUE(status.isOk()) << "round " << round << ": " << status.message();
    EXPECT_EQ(rows.countWrong(rank, size), 0u);
    arrived[rank] = round;
    ASSERT_TRUE(arrived.await(round))
        << "round " << round << ": a rank has not got its rows";
  }
  ASSERT_TRUE(boot->barrier().isOk());
}

TEST_F(MpiExchangeTest, WhatIsGivenUpIsNotWrittenLater) {
  if (size < 2)
    GTEST_SKIP() << "needs 2 ranks";
  // Rank 1 comes when the others have given up, which they do when all have
  // what the rest sends. Small rows and large ones, of which the sender waits
  // for the receiver.
  SharedCounters arrived(*boot);
  int round = 0;
  for (size_t rowBytes : {size_t(8), size_t(3) << 20}) {
    std::vector<int32_t> starts(size), ones(size, 1);
    for (int r = 0; r < size; ++r)
      starts[r] = r;
    std::vector<char> send(rowBytes * size_t(size), char(rank + 1)),
        recv(send.size(), 0x5a);
    RowExchange rows{send.data(),   starts.data(), ones.data(), recv.data(),
                     starts.data(), ones.data(),   rowBytes};
    if (rank == 1) {
      ASSERT_TRUE(boot->barrier().isOk());
    }
    ++round;
    auto hasAllBut1 = [&] {
      bool hasAll = true;
      for (int r = 0; r < size; ++r)
        hasAll &= r == 1 || r == rank ||
                  recv[rowBytes * size_t(r + 1) - 1] == char(r + 1);
      if (hasAll)
        arrived[rank] = round;
      return arrived.haveAll(round, /*except=*/1);
    };
    // Nobody sends to rank 1 any more.
    Deadline shortly(0.3);
    auto isLate = [&] { return shortly.isOver(); };
    TestGuard guard(rank == 1 ? std::function<bool()>(isLate) : hasAllBut1);
    Status status = exchanger->exchange({rows}, stream, guard);
    if (rank != 1) {
      EXPECT_EQ(status.code(), MOERT_TIMEOUT);
      EXPECT_EQ(status.details().peer, 1);
      ASSERT_TRUE(boot->barrier().isOk());
      std::vector<char> before = recv;
      // Messages of rank 1 come in meanwhile.
      for (int i = 0; i < 50; ++i)
        ASSERT_TRUE(boot->barrier().isOk());
      EXPECT_EQ(before, recv);
      EXPECT_EQ(recv[rowBytes], 0x5a);
    } else {
      for (int i = 0; i < 50; ++i)
        ASSERT_TRUE(boot->barrier().isOk());
    }
    // It refuses work until it is reset.
    TestGuard patient;
    if (rank != 1) {
      EXPECT_EQ(exchanger->exchange({rows}, stream, patient).code(),
                MOERT_INTERNAL);
    }
    ASSERT_TRUE(exchanger->reset(*boot).isOk());
    status = exchanger->exchange({rows}, stream, patient);
    ASSERT_TRUE(status.isOk()) << status.message();
    for (int r = 0; r < size; ++r)
      EXPECT_EQ(recv[rowBytes * size_t(r)], char(r + 1));
  }
}

TEST_F(MpiExchangeTest, RunningOutOfMemoryLeavesNothingBehind) {
  if (size < 2)
    GTEST_SKIP() << "needs 2 ranks";
  constexpr size_t rowBytes = mpi::Messenger::chunkBytes;
  std::vector<int32_t> starts(size), threes(size, 3);
  for (int r = 0; r < size; ++r)
    starts[r] = 3 * r;
  std::vector<char> send(3 * rowBytes * size_t(size)), recv(send.size());
  RowExchange rows{send.data(),   starts.data(), threes.data(), recv.data(),
                   starts.data(), threes.data(), rowBytes};
  SharedCounters thrown(*boot);
  TestGuard hasty([&] { return thrown[0] == 1; }), patient;
  if (rank == 0) {
    // Two messages are under way by then.
    RefusedMemory refused(rowBytes, 2);
    EXPECT_THROW((void)exchanger->exchange({rows}, stream, patient),
                 std::bad_alloc);
    thrown[0] = 1;
  } else {
    EXPECT_EQ(exchanger->exchange({rows}, stream, hasty).code(), MOERT_TIMEOUT);
  }
  EXPECT_EQ(exchanger->exchange({rows}, stream, patient).code(),
            MOERT_INTERNAL);
  ASSERT_TRUE(exchanger->reset(*boot).isOk());
  std::fill(send.begin(), send.end(), char(rank + 1));
  std::fill(recv.begin(), recv.end(), 0x5a);
  Status status = exchanger->exchange({rows}, stream, patient);
  ASSERT_TRUE(status.isOk()) << status.message();
  size_t wrong = 0;
  for (size_t i = 0; i < recv.size(); ++i)
    wrong += recv[i] != char(i / (3 * rowBytes) + 1);
  EXPECT_EQ(wrong, 0u);
}

TEST_F(MpiExchangeTest, CountsThatDisagreeAreInvalid) {
  if (size < 2)
    GTEST_SKIP() << "needs 2 ranks";
  SharedCounters seen(*boot);
  int round = 0;
  // In one message, and in the last of several.
  struct Case {
    int32_t sent, expected;
  };
  for (size_t rowBytes : {size_t(16), size_t(300) << 10})
    for (Case one : {Case{1, 2}, Case{3, 2}}) {
      std::vector<int32_t> starts(size), sent(size, 1), expected(size, 1);
      for (int r = 0; r < size; ++r)
        starts[r] = 3 * r;
      if (rank == 0)
        expected[1] = one.expected;
      if (rank == 1)
        sent[0] = one.sent;
      std::vector<char> send(3 * rowBytes * size_t(size)), recv(send.size());
      RowExchange rows{send.data(),   starts.data(),   sent.data(), recv.data(),
                       starts.data(), expected.data(), rowBytes};
      ++round;
      // Those who send to rank 0, or expect its rows, may wait in vain.
      TestGuard patient, hasty([&] { return seen[0] == round; });
      Status status =
          exchanger->exchange({rows}, stream, rank == 0 ? patient : hasty);
      if (rank == 0) {
        seen[0] = round;
        EXPECT_EQ(status.code(), MOERT_INVALID_COUNT);
        EXPECT_EQ(status.details().peer, 1);
        EXPECT_EQ(status.message(),
                  format("rank 1 sends %zu bytes, but rank 0 expects %zu",
                         rowBytes * size_t(one.sent),
                         rowBytes * size_t(one.expected)));
      }
      ASSERT_TRUE(exchanger->reset(*boot).isOk());
    }
}
