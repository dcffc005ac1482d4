//===- CudaGraphTest.cpp - launches on streams, and CUDA graphs -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaLauncher.h"

#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class GraphTest : public GroupTest {};
} // namespace

INSTANTIATE_TEST_SUITE_P(Graph, GraphTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

TEST_P(GraphTest, LaunchesAreOrderedByTheStream) {
  for (int size : {1, 2, 4})
    runGroup(GetParam(), size, [](Context &context) {
      Launcher launcher(context);
      launcher.setInput(0);
      size_t mapped = 0;
      for (int round = 0; round < 20; ++round) {
        DLManagedTensor *output = nullptr;
        ASSERT_OK(launcher.launch(output));
        ASSERT_OK(context.synchronize(launcher.stream));
        launcher.checkOutput(*output, 0);
        output->deleter(output);
        if (round == 0)
          mapped = context.memory().stats().mappedBlocks;
      }
      // Memory that was freed serves again.
      EXPECT_EQ(context.memory().stats().mappedBlocks, mapped);
      // Results of many launches at once, without waiting between them.
      std::vector<DLManagedTensor *> outputs(10);
      for (DLManagedTensor *&output : outputs)
        ASSERT_OK(launcher.launch(output));
      ASSERT_OK(context.synchronize(launcher.stream));
      for (DLManagedTensor *output : outputs) {
        launcher.checkOutput(*output, 0);
        output->deleter(output);
      }
      ASSERT_OK(context.boot().barrier());
    });
}

TEST_P(GraphTest, CapturedLaunchIsReplayedWithOtherInputs) {
  for (int size : {1, 2, 4})
    runGroup(GetParam(), size, [](Context &context) {
      Launcher launcher(context);
      launcher.setInput(0);
      DLManagedTensor *first = nullptr, *captured = nullptr, *later = nullptr;
      ASSERT_OK(launcher.launch(first));
      ASSERT_OK(context.synchronize(launcher.stream));
      first->deleter(first);
      ASSERT_OK(launcher.capture(captured));
      for (int round = 1; round <= 50; ++round) {
        launcher.setInput(round);
        launcher.replay();
        ASSERT_OK(context.synchronize(launcher.stream));
        launcher.checkOutput(*captured, round);
      }
      // Nothing else gets the memory of the graph.
      DLTensor view = captured->dl_tensor;
      captured->deleter(captured);
      ASSERT_OK(launcher.launch(later));
      EXPECT_NE(later->dl_tensor.data, view.data);
      ASSERT_OK(context.synchronize(launcher.stream));
      launcher.checkOutput(*later, 50);
      later->deleter(later);
      launcher.setInput(51);
      for (int i = 0; i < 100; ++i)
        launcher.replay();
      ASSERT_OK(context.synchronize(launcher.stream));
      ASSERT_OK(context.boot().barrier());
    });
}

TEST_P(GraphTest, RankThatDoesNotReplayIsNamed) {
  runGroup(
      GetParam(), 3,
      [](Context &context) {
        // Only waits in kernels are to be short.
        context.boot().setTimeout(20);
        Launcher launcher(context);
        launcher.setInput(0);
        DLManagedTensor *output = nullptr, *captured = nullptr;
        ASSERT_OK(launcher.launch(output));
        ASSERT_OK(context.synchronize(launcher.stream));
        output->deleter(output);
        ASSERT_OK(launcher.capture(captured));
        captured->deleter(captured);
        ASSERT_OK(context.boot().barrier());
        if (context.rank() != 1)
          launcher.replay();
        Status status = context.synchronize(launcher.stream);
        // Rank 2 waits for the rows of rank 1; the others need not.
        if (context.rank() == 2) {
          EXPECT_EQ(status.code(), MOERT_TIMEOUT);
          for (const char *part :
               {"rank 2: test.rotate at exchange.c:3:3, phase 'rotate': timed "
                "out after 5 s waiting for rank 1: expected signal 2, seen 1",
                "rank 1 was last seen not in a call"})
            EXPECT_NE(status.message().find(part), std::string::npos)
                << status.message();
          EXPECT_EQ(context.check().code(), MOERT_TIMEOUT);
          EXPECT_FALSE(launcher.launch(output).isOk());
        } else {
          EXPECT_TRUE(status.isOk() || status.code() == MOERT_PEER_FAILED)
              << status.message();
        }
        ASSERT_OK(context.boot().barrier());
        ASSERT_OK(context.reset());
        ASSERT_OK(launcher.launch(output));
        ASSERT_OK(context.synchronize(launcher.stream));
        launcher.checkOutput(*output, 0);
        output->deleter(output);
        ASSERT_OK(context.boot().barrier());
      },
      5);
}

/// The work of this rank on it goes on for a while after its launch is done.
TEST_P(GraphTest, RankThatHasDoneItsPartMayLeave) {
  runGroup(GetParam(), 2, [](Context &context) {
    Launcher launcher(context);
    launcher.setInput(0);
    DLManagedTensor *output = nullptr;
    ASSERT_OK(launcher.launch(output));
    if (context.rank() == 0)
      launcher.keepBusy(std::chrono::milliseconds(900));
    ASSERT_OK(context.synchronize(launcher.stream));
    launcher.checkOutput(*output, 0);
    output->deleter(output);
  });
}

TEST_P(GraphTest, StreamThatIsCapturedIsNotWaitedFor) {
  runGroup(GetParam(), 2, [](Context &context) {
    Launcher launcher(context);
    launcher.setInput(0);
    {
      cuda::Current current(*launcher.gpu);
      ASSERT_EQ(launcher.api.streamBeginCapture(launcher.stream,
                                                cuda::captureThreadLocal),
                0);
      Status status = context.synchronize(launcher.stream);
      EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT) << status.message();
      // Which ends the capture.
      cuda::GraphHandle graph = nullptr;
      EXPECT_NE(launcher.api.streamEndCapture(launcher.stream, &graph), 0);
    }
    DLManagedTensor *output = nullptr;
    ASSERT_OK(launcher.launch(output));
    ASSERT_OK(context.synchronize(launcher.stream));
    launcher.checkOutput(*output, 0);
    output->deleter(output);
  });
}

TEST_P(GraphTest, InputsOfALaunchAreOnTheDevice) {
  runGroup(GetParam(), 1, [](Context &context) {
    Launcher launcher(context);
    DLTensor input = launcher.input;
    input.device = {kDLCPU, 0};
    input.data = launcher.values;
    std::vector<DLManagedTensor *> outputs;
    Status status =
        context.launch(*launcher.entry, {&input}, outputs, launcher.stream);
    EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT);
    EXPECT_NE(status.message().find("expected a tensor on device"),
              std::string::npos)
        << status.message();
    // A call brings it there.
    ASSERT_OK(context.reset());
    ASSERT_OK(context.call(*launcher.entry, {&input}, outputs));
    float seen[16];
    ASSERT_OK(context.copyToHost(outputs[0]->dl_tensor, seen, sizeof(seen)));
    for (float value : seen)
      EXPECT_EQ(value, 0);
    outputs[0]->deleter(outputs[0]);
  });
}

TEST_P(GraphTest, EntryThatReadsCannotBeCaptured) {
  runGroup(GetParam(), 1, [](Context &context) {
    Launcher launcher(context);
    launcher.entry = *launcher.entry->artifact->entry("gather");
    DLTensor mode = launcher.input, who = launcher.input;
    for (DLTensor *scalar : {&mode, &who}) {
      scalar->ndim = 0;
      scalar->dtype = {kDLInt, 64, 1};
    }
    cuda::Current current(*launcher.gpu);
    std::vector<DLManagedTensor *> outputs;
    ASSERT_EQ(launcher.api.streamBeginCapture(launcher.stream,
                                              cuda::captureThreadLocal),
              0);
    Status status =
        context.launch(*launcher.entry, {&mode, &who, &launcher.input}, outputs,
                       launcher.stream);
    cuda::GraphHandle graph = nullptr;
    EXPECT_EQ(launcher.api.streamEndCapture(launcher.stream, &graph), 0);
    if (graph)
      launcher.api.graphDestroy(graph);
    EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT);
    EXPECT_NE(status.message().find("cannot be captured"), std::string::npos)
        << status.message();
  });
}

/// What is queued is compared, too: the ranks learn of it when they wait.
TEST_P(GraphTest, LaunchesWithDifferentNumbersOfCollectives) {
  runGroup(GetParam(), 2, [](Context &context) {
    Launcher launcher(context);
    Entry &entry = **launcher.entry->artifact->entry("rotate_times");
    int64_t times = context.rank() + 2;
    DLTensor number = launcher.input;
    number.ndim = 0;
    number.dtype = {kDLInt, 64, 1};
    number.data = context.memory().allocate(sizeof(times), 64);
    context.memory().keep(number.data);
    ASSERT_OK(context.copyFromHost(number, &times, sizeof(times)));
    std::vector<DLManagedTensor *> outputs;
    Status status = context.launch(entry, {&number, &launcher.input}, outputs,
                                   launcher.stream);
    if (status.isOk())
      status = context.synchronize(launcher.stream);
    // Rank 0 has all the rows it needs, and may not wait any more.
    if (context.rank() == 1) {
      EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH);
      // It begins with the rank that saw it first.
      EXPECT_EQ(status.message().substr(std::strlen("rank 0: ")),
                "ranks call different collectives: rank 1 is in test.rotate at "
                "exchange.c:3:3, but rank 0 has ended the call of entry "
                "'rotate_times' of artifact art without it; its last one was "
                "test.rotate at exchange.c:3:3");
    }
    ASSERT_OK(context.boot().barrier());
    for (DLManagedTensor *output : outputs)
      output->deleter(output);
    context.memory().free(number.data);
  });
}

/// Ranks that are threads wait for each other's streams, of which the driver
/// runs some at a time.
TEST_F(ProcessTest, GraphOfThreadsNeedsAQueuePerRank) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    setenv("CUDA_DEVICE_MAX_CONNECTIONS", "2", /*overwrite=*/1);
    auto bootstraps = createThreadBootstraps(2);
    std::vector<std::thread> threads;
    for (auto &bootstrap : bootstraps)
      threads.emplace_back([&bootstrap] {
        ContextOptions options;
        options.backend = "cuda";
        options.device = 0;
        auto context = Context::create(std::move(bootstrap), options);
        EXPECT_EQ(context.status().code(), MOERT_UNAVAILABLE);
        EXPECT_NE(context.status().message().find(
                      "2 ranks are threads of this process on GPU 0"),
                  std::string::npos)
            << context.status().message();
        EXPECT_NE(context.status().message().find(
                      "start the program with CUDA_DEVICE_MAX_CONNECTIONS=3 or "
                      "more in its environment"),
                  std::string::npos)
            << context.status().message();
      });
    for (std::thread &thread : threads)
      thread.join();
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}
