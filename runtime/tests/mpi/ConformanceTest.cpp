//===- ConformanceTest.cpp - the suite's exchanges, over MPI --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ranks.h"

#include "ExchangeCases.h"

#include <cstdlib>
#include <gtest/gtest.h>

using namespace moe::rt;
using namespace moe::rt::cts;

const BackendUnderTest moe::rt::cts::backendUnderTest = {
    "host", "", 64, false, nullptr, false};

namespace {
class MpiConformanceTest : public testing::TestWithParam<size_t> {};
} // namespace

static std::string caseName(const testing::TestParamInfo<size_t> &info) {
  return exchangeCases()[info.param].name;
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiConformanceTest,
                         testing::Range(size_t(0), exchangeCases().size()),
                         caseName);

TEST_P(MpiConformanceTest, Case) {
  // On one host it would be shared memory.
  setenv("MOE_TRANSPORT", "mpi", 1);
  auto context = Context::create(test::makeBootstrap(60), {});
  ASSERT_OK(context.status());
  if (Artifact *artifact = loadMessages(**context)) {
    exchangeCases()[GetParam()].run(**context, *artifact);
    EXPECT_EQ((*context)->memory().stats().liveBlocks, 0u);
  }
}
