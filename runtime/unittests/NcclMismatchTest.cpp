//===- NcclMismatchTest.cpp - different collectives of GPUs ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Ranks of two hosts whose messages fit, though they belong to different
/// collectives. No link between the hosts tells in time.
///
//===----------------------------------------------------------------------===//

#include "NcclGroup.h"

using namespace moe::rt;
using namespace moe::rt::tests;

namespace {
class NcclMismatchTest : public NcclTest {};

/// A rank with the test's artifact loaded, and a stream of its own.
class Caller {
public:
  explicit Caller(NcclRank &rank)
      : rank(rank), gpu(*rank.backend().gpuOfRank()), api(gpu.driver()) {
    cuda::Current here(gpu);
    EXPECT_EQ(api.streamCreate(&stream, cuda::streamNonBlocking), 0);
    auto loaded = rank.context.load(
        std::string(MOE_TEST_ARTIFACT_DIR) + "/cuda/messages2.so", "art");
    EXPECT_TRUE(loaded.isOk()) << loaded.status().message();
    artifact = loaded.isOk() ? *loaded : nullptr;
  }
  ~Caller() {
    cuda::Current here(gpu);
    for (cuda::GraphExecHandle graph : graphs)
      api.graphExecDestroy(graph);
    api.streamDestroy(stream);
  }

  /// Rank 1 calls another collective where `mode` says so.
  Status call(const char *entry, int64_t mode) {
    int64_t numbers[] = {mode, /*who=*/1};
    EXPECT_OK(rank.backend().copyIn(memory, numbers, sizeof(numbers)));
    DLTensor number = tensorAt(memory, 64), who = tensorAt(memory + 8, 64);
    DLTensor bytes = rows();
    return launch(entry, {&number, &who, &bytes});
  }
  Status gather(int64_t mode) { return call("all_gather", mode); }
  /// "gather", which can be captured.
  Status gatherQuietly() {
    DLTensor bytes = rows();
    return launch("gather", {&bytes});
  }
  void capture() {
    cuda::Current here(gpu);
    ASSERT_EQ(api.streamBeginCapture(stream, cuda::captureThreadLocal), 0);
    EXPECT_OK(gatherQuietly());
    cuda::GraphHandle graph = nullptr;
    graphs.push_back(nullptr);
    ASSERT_EQ(api.streamEndCapture(stream, &graph), 0);
    ASSERT_EQ(api.graphInstantiate(&graphs.back(), graph, 0), 0);
    api.graphDestroy(graph);
  }
  void replay(size_t graph) {
    cuda::Current here(gpu);
    ASSERT_EQ(api.graphLaunch(graphs[graph], stream), 0);
  }
  Status wait() { return rank.context.synchronize(stream); }
  /// As a program does that knows the stream alone.
  void waitForStream() {
    EXPECT_TRUE(rank.isDone(20, StreamRef{false, stream}));
  }

private:
  DLTensor tensorAt(char *data, int bits) {
    DLTensor tensor{};
    tensor.data = data;
    tensor.device = rank.backend().device();
    tensor.dtype = {kDLInt, uint8_t(bits), 1};
    return tensor;
  }
  DLTensor rows() {
    DLTensor tensor = tensorAt(memory + 16, 8);
    tensor.ndim = 1;
    tensor.shape = shape;
    return tensor;
  }
  Status launch(const char *name, const std::vector<const DLTensor *> &inputs) {
    std::vector<DLManagedTensor *> outputs;
    Status status =
        rank.context.launch(**artifact->entry(name), inputs, outputs, stream);
    for (DLManagedTensor *output : outputs)
      output->deleter(output);
    return status;
  }

  NcclRank &rank;
  const cuda::Gpu &gpu;
  const cuda::Driver &api;
  cuda::StreamHandle stream = nullptr;
  std::vector<cuda::GraphExecHandle> graphs;
  Artifact *artifact = nullptr;
  char *memory = rank.allocate(64);
  int64_t shape[1] = {8};
};
} // namespace

/// Modes of messages.c.
static constexpr int64_t behave = 0, otherOrder = 4, allToAll = 27;

static void expectMismatch(const Status &status,
                           std::initializer_list<const char *> parts) {
  EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
  EXPECT_NE(status.message().find("ranks call different collectives: rank "),
            std::string::npos)
      << status.message();
  for (const char *part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "no '" << part << "' in: " << status.message();
}

static constexpr auto bothPlaces = {"test.all_gather at messages.c:1:1",
                                    "test.other at messages.c:4:4"};

TEST_F(NcclMismatchTest, FoundByWhoWaitsForTheStream) {
  run(
      2,
      [](NcclRank &rank) {
        Caller caller(rank);
        for (int round = 0; round < 20; ++round) {
          EXPECT_OK(caller.gather(behave));
          EXPECT_OK(caller.wait());
          (void)caller.gather(otherOrder);
          expectMismatch(caller.wait(), bothPlaces);
          EXPECT_OK(rank.context.reset());
        }
        EXPECT_OK(rank.context.boot().barrier());
      },
      -1, 2);
}

/// As generated code begins a combine whose blocks are known.
TEST_F(NcclMismatchTest, FoundWhereACollectiveBeginsWithRows) {
  run(
      2,
      [](NcclRank &rank) {
        Caller caller(rank);
        for (int round = 0; round < 20; ++round) {
          EXPECT_OK(caller.call("rows", behave));
          EXPECT_OK(caller.wait());
          (void)caller.call("rows", otherOrder);
          expectMismatch(caller.wait(), {"test.rows at messages.c:5:5",
                                         "test.other at messages.c:4:4"});
          EXPECT_OK(rank.context.reset());
        }
        EXPECT_OK(rank.context.boot().barrier());
      },
      -1, 2);
}

/// Here one collective begins with an all-to-all, and the other one with rows.
TEST_F(NcclMismatchTest, FoundWhereOnlyOneBeginsWithRows) {
  run(
      2,
      [](NcclRank &rank) {
        Caller caller(rank);
        for (int round = 0; round < 20; ++round) {
          (void)caller.call("rows", allToAll);
          expectMismatch(caller.wait(), {"test.all_to_all at messages.c:2:2",
                                         "test.rows at messages.c:5:5"});
          EXPECT_OK(rank.context.reset());
        }
        EXPECT_OK(rank.context.boot().barrier());
      },
      -1, 2);
}

TEST_F(NcclMismatchTest, FoundByTheNextCallOrLook) {
  run(
      2,
      [](NcclRank &rank) {
        Caller caller(rank);
        for (bool looks : {false, true}) {
          EXPECT_OK(caller.gather(behave));
          (void)caller.gather(otherOrder);
          caller.waitForStream();
          expectMismatch(looks ? rank.context.check() : caller.gather(behave),
                         bothPlaces);
          EXPECT_OK(rank.context.boot().barrier());
          EXPECT_OK(rank.context.reset());
        }
        EXPECT_OK(caller.gather(behave));
        EXPECT_OK(caller.wait());
        EXPECT_OK(rank.context.boot().barrier());
      },
      -1, 2);
}

/// Graphs of the same entry are different ones.
TEST_F(NcclMismatchTest, RanksThatReplayDifferentGraphs) {
  run(
      2,
      [](NcclRank &rank) {
        Caller caller(rank);
        EXPECT_OK(caller.gatherQuietly());
        EXPECT_OK(caller.wait());
        caller.capture();
        caller.capture();
        for (int round = 0; round < 10; ++round) {
          caller.replay(0);
          caller.replay(1);
          caller.replay(0);
          EXPECT_OK(caller.wait());
        }
        EXPECT_OK(rank.context.boot().barrier());
        caller.replay(size_t(rank.rank()));
        expectMismatch(caller.wait(),
                       {"test.all_gather at messages.c:1:1 (collective 2, in "
                        "operation ",
                        "test.all_gather at messages.c:1:1 (collective 3, in "
                        "operation "});
        EXPECT_OK(rank.context.boot().barrier());
      },
      -1, 2);
}

/// On one host the control plane tells in time, and no labels travel.
TEST_F(NcclMismatchTest, OnOneHost) {
  run(2, [](NcclRank &rank) {
    Caller caller(rank);
    EXPECT_OK(caller.gather(behave));
    EXPECT_OK(caller.wait());
    EXPECT_OK(rank.context.boot().barrier());
    Status status = caller.gather(otherOrder);
    Status waited = caller.wait();
    expectMismatch(status.isOk() ? waited : status, bothPlaces);
    EXPECT_OK(rank.context.boot().barrier());
  });
}
