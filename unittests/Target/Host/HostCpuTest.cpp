//===- HostCpuTest.cpp - Tests of CPU levels ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Host/Host.h"

#include "gtest/gtest.h"

using namespace mlir::moe;

TEST(HostCpuTest, LevelsAreThoseOfThePsABI) {
  ASSERT_EQ(getHostCpuLevels().size(), 4u);
  EXPECT_EQ(getHostCpuLevels().front(), "x86-64");
  EXPECT_EQ(getHostCpuLevels().back(), "x86-64-v4");
}

TEST(HostCpuTest, NativeIsWhatTheCompilerSaysThisCpuSupports) {
  llvm::StringRef native = getNativeCpuLevel();
  __builtin_cpu_init();
  EXPECT_EQ(native >= "x86-64-v2", __builtin_cpu_supports("sse4.2") != 0);
  EXPECT_EQ(native >= "x86-64-v3", __builtin_cpu_supports("avx2") &&
                                       __builtin_cpu_supports("fma") &&
                                       __builtin_cpu_supports("bmi2"));
}
