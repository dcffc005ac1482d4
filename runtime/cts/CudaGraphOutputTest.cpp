//===- CudaGraphOutputTest.cpp - graphs that write the caller's memory ----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaLauncher.h"

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class GraphOutputTest : public GroupTest {};
} // namespace

INSTANTIATE_TEST_SUITE_P(Graph, GraphOutputTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

/// A graph of two launches with outputs of their own: replays write both, and
/// nothing stays reserved for the graph.
TEST_P(GraphOutputTest, ReplaysWriteTheCallersMemory) {
  for (int size : {1, 2, 4})
    runGroup(GetParam(), size, [](Context &context) {
      Launcher launcher(context);
      launcher.setInput(0);
      DLTensor outputs[2] = {launcher.input, launcher.input};
      for (DLTensor &output : outputs) {
        output.data = context.memory().allocate(sizeof(launcher.values), 64);
        ASSERT_NE(output.data, nullptr);
        context.memory().keep(output.data);
      }
      // The first launch loads the kernels.
      ASSERT_OK(launcher.launchInto(outputs[0]));
      ASSERT_OK(context.synchronize(launcher.stream));
      launcher.checkOutput(outputs[0], 0);
      Memory::Stats before = context.memory().stats();
      ASSERT_OK(launcher.capture([&] {
        Status status = launcher.launchInto(outputs[0]);
        return status.isOk() ? launcher.launchInto(outputs[1]) : status;
      }));
      Memory::Stats after = context.memory().stats();
      EXPECT_EQ(after.liveBlocks, before.liveBlocks);
      EXPECT_EQ(after.mappedBlocks, before.mappedBlocks);
      std::vector<char> zeros(sizeof(launcher.values));
      for (int round = 1; round <= 20; ++round) {
        launcher.setInput(round);
        for (const DLTensor &output : outputs)
          ASSERT_OK(context.copyFromHost(output, zeros.data(), zeros.size()));
        launcher.replay();
        ASSERT_OK(context.synchronize(launcher.stream));
        for (const DLTensor &output : outputs)
          launcher.checkOutput(output, round);
      }
      ASSERT_OK(context.boot().barrier());
      for (DLTensor &output : outputs)
        context.memory().free(output.data);
    });
}
