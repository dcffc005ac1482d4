//===- StreamTest.cpp - streams of the stand-in driver --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include <chrono>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <thread>

namespace {
/// What the tests call, by the names of the driver.
struct Functions {
  int (*cuInit)(unsigned);
  int (*cuDevicePrimaryCtxRetain)(void **, int);
  int (*cuCtxPushCurrent_v2)(void *);
  int (*cuCtxSynchronize)();
  int (*cuStreamCreate)(void **, unsigned);
  int (*cuStreamDestroy_v2)(void *);
  int (*cuLaunchHostFunc)(void *, void (*)(void *), void *);
};

class StandInStreamTest : public ::testing::Test {
protected:
  void SetUp() override {
    void *library = dlopen(MOE_STANDIN_DRIVER, RTLD_NOW);
    ASSERT_NE(library, nullptr) << dlerror();
#define LOOK_UP(NAME)                                                          \
  driver.NAME =                                                                \
      reinterpret_cast<decltype(driver.NAME)>(dlsym(library, #NAME));          \
  ASSERT_NE(driver.NAME, nullptr)
    LOOK_UP(cuInit);
    LOOK_UP(cuDevicePrimaryCtxRetain);
    LOOK_UP(cuCtxPushCurrent_v2);
    LOOK_UP(cuCtxSynchronize);
    LOOK_UP(cuStreamCreate);
    LOOK_UP(cuStreamDestroy_v2);
    LOOK_UP(cuLaunchHostFunc);
#undef LOOK_UP
    void *context = nullptr;
    ASSERT_EQ(driver.cuInit(0), 0);
    ASSERT_EQ(driver.cuDevicePrimaryCtxRetain(&context, 0), 0);
    ASSERT_EQ(driver.cuCtxPushCurrent_v2(context), 0);
  }

  Functions driver{};
};
} // namespace

/// As with a GPU: whoever frees what the work uses waits for the context.
TEST_F(StandInStreamTest, ContextIsWaitedForWithDestroyedStreams) {
  for (int round = 0; round < 3; ++round) {
    void *stream = nullptr;
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
