//===- DriverTest.h - calls of the stand-in driver, for tests ---*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_DRIVERTEST_H
#define MOE_RUNTIME_TESTS_DRIVER_DRIVERTEST_H

#include "StandIn.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

namespace moe::standin {

/// What the tests call.
#define MOE_DRIVER_TEST_FUNCTIONS(X)                                           \
  X(cuInit)                                                                    \
  X(cuDevicePrimaryCtxRetain)                                                  \
  X(cuCtxPushCurrent_v2)                                                       \
  X(cuCtxSynchronize)                                                          \
  X(cuMemAddressReserve)                                                       \
  X(cuMemAddressFree)                                                          \
  X(cuMemHostAlloc)                                                            \
  X(cuMemFreeHost)                                                             \
  X(cuMemcpyAsync)                                                             \
  X(cuStreamCreate)                                                            \
  X(cuStreamDestroy_v2)                                                        \
  X(cuLaunchHostFunc)

/// A thread that a context is current in, and the functions of the library by
/// their names.
class DriverTest : public ::testing::Test {
protected:
  void SetUp() override {
    void *library = dlopen(MOE_STANDIN_DRIVER, RTLD_NOW);
    ASSERT_NE(library, nullptr) << dlerror();
#define LOOK_UP(NAME)                                                          \
  driver.NAME = reinterpret_cast<decltype(&NAME)>(dlsym(library, #NAME));      \
  ASSERT_NE(driver.NAME, nullptr);
    MOE_DRIVER_TEST_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    ContextHandle context = nullptr;
    ASSERT_EQ(driver.cuInit(0), 0);
    ASSERT_EQ(driver.cuDevicePrimaryCtxRetain(&context, 0), 0);
    ASSERT_EQ(driver.cuCtxPushCurrent_v2(context), 0);
  }

  struct Functions {
#define DECLARE(NAME) decltype(&::NAME) NAME;
    MOE_DRIVER_TEST_FUNCTIONS(DECLARE)
#undef DECLARE
  };
  Functions driver{};
};

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_DRIVERTEST_H
