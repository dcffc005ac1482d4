//===- CApiLendTest.cpp - options that lend a communicator ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Core/CApiHandles.h"

#include <cstddef>
#include <gtest/gtest.h>

using namespace moe::rt;

/// Callers that were built with an older header have fewer fields, and what
/// comes after them is not theirs.
TEST(CApiLendTest, OlderCallersLendNothing) {
  int comm = 0;
  moert_options options{sizeof(moert_options), 0, 0, nullptr, 3, &comm, 1};
  ContextOptions read;
  ASSERT_TRUE(readOptions(&options, read).isOk());
  EXPECT_EQ(read.device, 3);
  EXPECT_TRUE(read.lent.hasNccl);
  EXPECT_EQ(read.lent.nccl, &comm);

  // With the device, and the padding behind it.
  options.struct_size = offsetof(moert_options, nccl_comm);
  read = {};
  ASSERT_TRUE(readOptions(&options, read).isOk());
  EXPECT_EQ(read.device, 3);
  EXPECT_FALSE(read.lent.hasNccl);

  options.struct_size = offsetof(moert_options, device);
  read = {};
  ASSERT_TRUE(readOptions(&options, read).isOk());
  EXPECT_EQ(read.device, -1);
  EXPECT_FALSE(read.lent.hasNccl);

  options.struct_size = offsetof(moert_options, device) - 1;
  EXPECT_EQ(readOptions(&options, read).code(), MOERT_INVALID_ARGUMENT);
}
