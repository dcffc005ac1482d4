//===- CudaDriverTest.cpp - tests of what there is without a GPU ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CUDA/Driver.h"
#include "CUDA/Module.h"

#include <gtest/gtest.h>

using namespace moe::rt;
using namespace moe::rt::cuda;

TEST(CudaDriverTest, NoDriver) {
  Driver driver;
  Status status = openDriver("libno-such-driver.so.1", driver);
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_EQ(status.message().rfind("there is no CUDA driver: "
                                   "libno-such-driver.so.1: ",
                                   0),
            0u)
      << status.message();
}

TEST(CudaDriverTest, OldDriver) {
  Driver driver;
  Status status = openDriver(MOE_FAKE_DRIVER_DIR "/old-driver.so", driver);
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_EQ(status.message(), "the CUDA driver is too old: it is for CUDA "
                              "11.4, and 12.0 is the oldest that works");
}

TEST(CudaDriverTest, DriverThatLacksFunctions) {
  Driver driver;
  Status status = openDriver(MOE_FAKE_DRIVER_DIR "/bare-driver.so", driver);
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_EQ(status.message(),
            "the CUDA driver is too old: it lacks cuInit, which drivers for "
            "CUDA 12.0 and later have");
}

TEST(CudaDriverTest, KernelsOfAText) {
  EXPECT_EQ(listKernels(".version 8.0\n.visible .entry a_kernel(\n\t.param "
                        ".b64 p\n)\n{ ret; }\n.func helper()\n.entry  b$1("
                        ")\n{ // .entry\n}\n"),
            (std::vector<std::string>{"a_kernel", "b$1"}));
  EXPECT_TRUE(listKernels("").empty());
}
