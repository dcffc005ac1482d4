//===- StreamTest.cpp - streams of the stand-in driver --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DriverTest.h"

#include <chrono>
#include <thread>

using namespace moe::standin;

using StandInStreamTest = DriverTest;

/// As with a GPU: whoever frees what the work uses waits for the context.
TEST_F(StandInStreamTest, ContextIsWaitedForWithDestroyedStreams) {
  for (int round = 0; round < 3; ++round) {
    StreamHandle stream = nullptr;
    ASSERT_EQ(driver.cuStreamCreate(&stream, 1), 0);
    // Plain: what the work writes is seen by who has waited.
    int numDone = 0;
    auto slow = [](void *count) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      ++*static_cast<int *>(count);
    };
    for (int i = 0; i < 2; ++i)
      ASSERT_EQ(driver.cuLaunchHostFunc(stream, slow, &numDone), 0);
    ASSERT_EQ(driver.cuStreamDestroy_v2(stream), 0);
    ASSERT_EQ(driver.cuCtxSynchronize(), 0);
    EXPECT_EQ(numDone, 2);
  }
}
