//===- MemoryTest.cpp - which memory the stand-in driver takes for what ---===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DriverTest.h"

#include <cstring>
#include <sys/mman.h>

using namespace moe::standin;

namespace {
class StandInMemoryTest : public DriverTest {
protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(DriverTest::SetUp());
    ASSERT_EQ(driver.cuMemHostAlloc(&pinned, 64, 0), 0);
    // The driver cuts off what lies beyond the range that it reserves, so an
    // ordinary page may follow it.
    ASSERT_EQ(driver.cuMemAddressReserve(&range, rangeBytes, 0, 0, 0), 0);
  }

  void TearDown() override {
    EXPECT_EQ(driver.cuMemFreeHost(pinned), 0);
    EXPECT_EQ(driver.cuMemAddressFree(range, rangeBytes), 0);
  }

  static constexpr size_t rangeBytes = size_t(2) << 20;
  DevicePtr range = 0;
  void *pinned = nullptr;
};
} // namespace

TEST_F(StandInMemoryTest, OrdinaryMemoryMayBeginWhereARangeEnds) {
  void *page = mmap(reinterpret_cast<void *>(range + rangeBytes), 4096,
                    PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(page, reinterpret_cast<void *>(range + rangeBytes));
  std::memset(page, 7, 16);
  auto address = [](void *at) { return reinterpret_cast<DevicePtr>(at); };
  EXPECT_EQ(driver.cuMemcpyAsync(address(pinned), address(page), 16, nullptr),
            0);
  EXPECT_EQ(driver.cuMemcpyAsync(address(page), address(pinned), 16, nullptr),
            0);
  munmap(page, 4096);
}

TEST_F(StandInMemoryTest, RangeWithoutMemoryIsRefused) {
  auto host = reinterpret_cast<DevicePtr>(pinned);
  EXPECT_EQ(driver.cuMemcpyAsync(host, range, 16, nullptr), errorInvalidValue);
  EXPECT_EQ(driver.cuMemcpyAsync(host, range + rangeBytes - 16, 16, nullptr),
            errorInvalidValue);
}
