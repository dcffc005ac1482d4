//===- MemoryTest.cpp - which memory the stand-in driver takes for what ---===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

namespace {
/// What the tests call, by the names of the driver.
struct Functions {
  int (*cuInit)(unsigned);
  int (*cuDevicePrimaryCtxRetain)(void **, int);
  int (*cuCtxPushCurrent_v2)(void *);
  int (*cuMemAddressReserve)(uint64_t *, size_t, size_t, uint64_t, uint64_t);
  int (*cuMemAddressFree)(uint64_t, size_t);
  int (*cuMemHostAlloc)(void **, size_t, unsigned);
  int (*cuMemFreeHost)(void *);
  int (*cuMemcpyAsync)(uint64_t, uint64_t, size_t, void *);
};

class StandInMemoryTest : public ::testing::Test {
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
    LOOK_UP(cuMemAddressReserve);
    LOOK_UP(cuMemAddressFree);
    LOOK_UP(cuMemHostAlloc);
    LOOK_UP(cuMemFreeHost);
    LOOK_UP(cuMemcpyAsync);
#undef LOOK_UP
    void *context = nullptr;
    ASSERT_EQ(driver.cuInit(0), 0);
    ASSERT_EQ(driver.cuDevicePrimaryCtxRetain(&context, 0), 0);
    ASSERT_EQ(driver.cuCtxPushCurrent_v2(context), 0);
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
  Functions driver{};
  uint64_t range = 0;
  void *pinned = nullptr;
};
} // namespace

TEST_F(StandInMemoryTest, OrdinaryMemoryMayBeginWhereARangeEnds) {
  void *page = mmap(reinterpret_cast<void *>(range + rangeBytes), 4096,
                    PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(page, reinterpret_cast<void *>(range + rangeBytes));
  std::memset(page, 7, 16);
  auto address = [](void *at) { return reinterpret_cast<uint64_t>(at); };
  EXPECT_EQ(driver.cuMemcpyAsync(address(pinned), address(page), 16, nullptr),
            0);
  EXPECT_EQ(driver.cuMemcpyAsync(address(page), address(pinned), 16, nullptr),
            0);
  munmap(page, 4096);
}

TEST_F(StandInMemoryTest, RangeWithoutMemoryIsRefused) {
  constexpr int invalidValue = 1;
  auto host = reinterpret_cast<uint64_t>(pinned);
  EXPECT_EQ(driver.cuMemcpyAsync(host, range, 16, nullptr), invalidValue);
  EXPECT_EQ(driver.cuMemcpyAsync(host, range + rangeBytes - 16, 16, nullptr),
            invalidValue);
}
