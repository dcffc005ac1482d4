//===- MachineMemoryTest.cpp - tests of what memory is free ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/MachineMemory.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

using namespace moe::rt;

namespace {
/// A folder with files as the kernel shows them.
class MachineMemoryTest : public ::testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/moe-memory-XXXXXX";
    ASSERT_TRUE(mkdtemp(name));
    root = name;
    write("/proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:   5000 kB\n"
                           "SwapTotal: 2000 kB\nSwapFree: 1000 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root); }
  void write(const std::string &path, const std::string &text) {
    std::filesystem::path file = root + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root;
};
} // namespace

TEST_F(MachineMemoryTest, OfTheMachine) {
  EXPECT_EQ(availableMemoryBytes(root), size_t(6000) * 1024);
  EXPECT_EQ(availableMemoryBytes(root + "/none"), SIZE_MAX);
  EXPECT_GT(availableMemoryBytes(), size_t(0));
}

TEST_F(MachineMemoryTest, OfTheSmallestControlGroup) {
  write("/proc/self/cgroup", "0::/job/step\n");
  std::string group = "/sys/fs/cgroup/job";
  write(group + "/step/memory.max", "max\n");
  write(group + "/step/memory.current", "100\n");
  write(group + "/memory.max", "4000000\n");
  write(group + "/memory.current", "3000000\n");
  EXPECT_EQ(availableMemoryBytes(root), size_t(1000000));
  // Cached files give way.
  write(group + "/memory.stat", "anon 7\nactive_file 200000\n"
                                "inactive_file 300000\n");
  EXPECT_EQ(availableMemoryBytes(root), size_t(1500000));
  write(group + "/memory.current", "9000000\n");
  EXPECT_EQ(availableMemoryBytes(root), size_t(0));
}

/// A container may see its group as the top, whatever path it is told.
TEST_F(MachineMemoryTest, OfTheFirstVersionOfControlGroups) {
  write("/proc/self/cgroup", "5:devices:/x\n4:cpu,memory:/docker/0123\n0::/\n");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n");
  write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n");
  write("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 100\n");
  EXPECT_EQ(availableMemoryBytes(root), size_t(1500100));
}
