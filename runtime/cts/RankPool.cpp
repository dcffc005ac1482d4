//===- RankPool.cpp - the main of the test programs -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankPool.h"

#include "PoolServer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

using namespace moe::rt;
using namespace moe::rt::cts;

/// The largest group that tests ask for beside `manyRanks`.
static constexpr int fewRanks = 8;
/// How long a worker may be silent. Starting a GPU takes up to a minute, and
/// so do the longest waits of tests.
static constexpr double defaultSilence = 120;

/// Leaves out tests whose ranks may die.
static void leaveOutProcessTests() {
  std::string &filter = ::testing::GTEST_FLAG(filter);
  filter += filter.find('-') == std::string::npos ? "-" : ":";
  filter += "ProcessTest.*";
}

int moe::rt::cts::runSuite(int argc, char **argv) {
  ::testing::InitGoogleTest(&argc, argv);
  static const std::string flag = "--rank_pool";
  double silence = 0;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    silence = argument == flag ? defaultSilence
              : argument.rfind(flag + "=", 0) == 0
                  ? std::atof(argument.c_str() + flag.size() + 1)
                  : 0;
    if (!(silence > 0 && silence < 1e6)) {
      std::fprintf(stderr, "%s: bad argument: %s\n", argv[0], argv[i]);
      return 2;
    }
  }
  if (silence <= 0)
    return RUN_ALL_TESTS();
  leaveOutProcessTests();
  // Without a backend there is nothing to run, and one process says so.
  if (::testing::GTEST_FLAG(list_tests) || !backendStatus().isOk())
    return RUN_ALL_TESTS();
  // All workers must have the same order.
  if (::testing::GTEST_FLAG(random_seed) == 0)
    ::testing::GTEST_FLAG(random_seed) = int(nowNs() / 1000 % 99999) + 1;
  PoolServer pool(silence);
  std::unique_ptr<PoolWorker> worker;
  if (pool.start(std::max(fewRanks, backendUnderTest.manyRanks), worker))
    return worker->runTests();
  return pool.serve();
}
