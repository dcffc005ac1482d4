//===- NcclExchangeTest.cpp - exchanges between GPUs by NCCL --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NcclGroup.h"

#include "moe-runtime/Deadline.h"

#include <thread>

using namespace moe::rt;
using namespace moe::rt::tests;

namespace {
class NcclExchangeTest : public NcclTest {};

/// Rows of one byte, of which rank s sends p + s modulo 3 to rank p, each with
/// the value 10 s + p.
struct Rows {
  explicit Rows(NcclRank &rank) : rank(rank) {
    int size = rank.size(), me = rank.rank();
    std::vector<char> values;
    int received = 0;
    for (int peer = 0; peer < size; ++peer) {
      sendStarts.push_back(static_cast<int>(values.size()));
      sendCounts.push_back((peer + me) % 3);
      values.resize(values.size() + sendCounts.back(),
                    static_cast<char>(10 * me + peer));
      recvStarts.push_back(received);
      recvCounts.push_back((peer + me) % 3);
      received += recvCounts.back();
      expected.resize(received, static_cast<char>(10 * peer + me));
    }
    send = rank.allocate(64);
    recv = rank.allocate(64);
    EXPECT_OK(rank.backend().copyIn(send, values.data(), values.size()));
  }
  RowExchange exchange() const {
    return {send, sendStarts.data(), sendCounts.data(),
            recv, recvStarts.data(), recvCounts.data(),
            1};
  }
  void check() { EXPECT_EQ(rank.read(recv, expected.size()), expected); }

  NcclRank &rank;
  std::vector<int32_t> sendStarts, sendCounts, recvStarts, recvCounts;
  std::vector<char> expected;
  char *send, *recv;
};
} // namespace

TEST_F(NcclExchangeTest, AllToAll) {
  for (int size : {1, 2, 4})
    run(size, [](NcclRank &rank) {
      auto made = rank.create();
      ASSERT_TRUE(made.isOk()) << made.status().message();
      EXPECT_STREQ((*made)->name(), "NCCL");
      TimeGuard guard;
      auto count = size_t(rank.size());
      // More than a ring of the stand-in holds.
      size_t bytes = 100000;
      char *send = rank.allocate(bytes * count);
      char *recv = rank.allocate(bytes * count);
      std::vector<char> values;
      for (int peer = 0; peer < rank.size(); ++peer)
        values.resize(values.size() + bytes,
                      static_cast<char>(10 * rank.rank() + peer));
      EXPECT_OK(rank.backend().copyIn(send, values.data(), values.size()));
      EXPECT_OK((*made)->allToAll({{send, recv, bytes}}, StreamRef{}, guard));
      ASSERT_TRUE(rank.isDone(20));
      std::vector<char> expected;
      for (int peer = 0; peer < rank.size(); ++peer)
        expected.resize(expected.size() + bytes,
                        static_cast<char>(10 * peer + rank.rank()));
      EXPECT_EQ(rank.read(recv, bytes * count), expected);
      EXPECT_OK((*made)->allToAll({{send, recv, 0}}, StreamRef{}, guard));
      EXPECT_OK((*made)->allGather({{send, recv, 0}}, StreamRef{}, guard));
    });
}

TEST_F(NcclExchangeTest, RowsOfSeveralBuffers) {
  for (int size : {1, 2, 4})
    run(size, [](NcclRank &rank) {
      auto made = rank.create();
      ASSERT_TRUE(made.isOk()) << made.status().message();
      TimeGuard guard;
      Rows first(rank), second(rank);
      for (int time = 0; time < 3; ++time)
        EXPECT_OK((*made)->exchange({first.exchange(), second.exchange()},
                                    StreamRef{}, guard));
      EXPECT_OK((*made)->exchange({}, StreamRef{}, guard));
      ASSERT_TRUE(rank.isDone(20));
      first.check();
      second.check();
    });
}

TEST_F(NcclExchangeTest, CapturedIntoAGraph) {
  run(2, [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_TRUE(made.isOk()) << made.status().message();
    TimeGuard guard;
    Rows rows(rank);
    const cuda::Gpu &gpu = *rank.backend().gpuOfRank();
    const cuda::Driver &api = gpu.driver();
    cuda::Current here(gpu);
    cuda::StreamHandle handle = nullptr;
    ASSERT_EQ(api.streamCreate(&handle, cuda::streamNonBlocking), 0);
    StreamRef stream{false, handle};
    ASSERT_EQ(api.streamBeginCapture(handle, cuda::captureThreadLocal), 0);
    EXPECT_OK((*made)->exchange({rows.exchange()}, stream, guard));
    cuda::GraphHandle graph = nullptr;
    cuda::GraphExecHandle executable = nullptr;
    ASSERT_EQ(api.streamEndCapture(handle, &graph), 0);
    ASSERT_EQ(api.graphInstantiate(&executable, graph, 0), 0);
    for (int replay = 0; replay < 3; ++replay) {
      char zero[64] = {};
      EXPECT_OK(rank.backend().copyIn(rows.recv, zero, sizeof(zero)));
      ASSERT_EQ(api.graphLaunch(executable, handle), 0);
      ASSERT_TRUE(rank.isDone(20, stream));
      rows.check();
    }
    api.graphExecDestroy(executable);
    api.graphDestroy(graph);
    made->reset();
    api.streamDestroy(handle);
  });
}

TEST_F(NcclExchangeTest, BufferThatIsNotOnTheDevice) {
  run(1, [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_TRUE(made.isOk()) << made.status().message();
    TimeGuard guard;
    char bytes[8];
    Status status =
        (*made)->allGather({{bytes, bytes, sizeof(bytes)}}, StreamRef{}, guard);
    EXPECT_EQ(status.code(), MOERT_INTERNAL);
    EXPECT_NE(status.message().find("an all-gather: NCCL on rank 0"),
              std::string::npos)
        << status.message();
  });
}

TEST_F(NcclExchangeTest, AsynchronousErrorAndReset) {
  setFault("error@0:3");
  run(2, [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_TRUE(made.isOk()) << made.status().message();
    Exchanger &exchanger = **made;
    TimeGuard guard;
    Rows rows(rank);
    EXPECT_OK(exchanger.exchange({rows.exchange()}, StreamRef{}, guard));
    EXPECT_TRUE(rank.isDone(20));
    EXPECT_OK(exchanger.poll());
    (void)exchanger.exchange({rows.exchange()}, StreamRef{}, guard);
    // The error comes when the stream gets that far.
    for (Deadline deadline(60);
         rank.rank() == 0 && exchanger.poll().isOk() && !deadline.isOver();)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_FALSE(rank.isDone(0.3));
    Status status = exchanger.poll();
    if (rank.rank() == 0) {
      EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
      EXPECT_EQ(status.details().rank, 0);
      std::string expected = "an asynchronous error: NCCL on rank 0 (host ";
      EXPECT_EQ(status.message().substr(0, expected.size()), expected);
      EXPECT_NE(status.message().find(
                    "reports ncclRemoteError (remote process exited or there "
                    "was a network error); the last warning of NCCL: "
                    "stand-in: the connection of rank 0 is lost"),
                std::string::npos)
          << status.message();
    } else {
      EXPECT_OK(status);
    }
    // What waits for the other rank ends.
    exchanger.stop();
    EXPECT_TRUE(rank.isDone(20));
    EXPECT_EQ(exchanger.poll().code(), MOERT_PEER_FAILED);
    EXPECT_EQ(exchanger.exchange({rows.exchange()}, StreamRef{}, guard).code(),
              MOERT_PEER_FAILED);
    EXPECT_OK(exchanger.reset(rank.context.boot()));
    EXPECT_OK(exchanger.poll());
    EXPECT_OK(exchanger.exchange({rows.exchange()}, StreamRef{}, guard));
    EXPECT_TRUE(rank.isDone(20));
    rows.check();
  });
}

TEST_F(NcclExchangeTest, OperationThatNeverEndsIsStopped) {
  // The first two operations connect the ranks.
  setFault("hang@1:2");
  run(2, [](NcclRank &rank) {
    auto made = rank.create();
    ASSERT_TRUE(made.isOk()) << made.status().message();
    TimeGuard guard;
    Rows rows(rank);
    EXPECT_OK((*made)->exchange({rows.exchange()}, StreamRef{}, guard));
    EXPECT_FALSE(rank.isDone(0.2));
    (*made)->stop();
    EXPECT_TRUE(rank.isDone(20));
  });
}
