//===- WaitClockTest.cpp - tests of the clock of waits --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/WaitClock.h"

#include <gtest/gtest.h>

using namespace moe::rt;

TEST(WaitClockTest, AddsWhatPassesBetweenLooks) {
  WaitClock clock(1000);
  EXPECT_EQ(clock.elapsedNs(1500), 500);
  EXPECT_EQ(clock.elapsedNs(1500), 500);
  EXPECT_EQ(clock.elapsedNs(4000), 3000);
}

/// The process was stopped, or the machine asleep.
TEST(WaitClockTest, LongGapCountsAsOneLook) {
  constexpr int64_t hour = int64_t(3600) * 1000000000;
  WaitClock clock(0);
  EXPECT_EQ(clock.elapsedNs(7), 7);
  EXPECT_EQ(clock.elapsedNs(hour), 7 + WaitClock::mostPerLookNs);
  EXPECT_EQ(clock.elapsedNs(hour + 5), 12 + WaitClock::mostPerLookNs);
  EXPECT_FALSE(clock.hasPassed(1));
}
