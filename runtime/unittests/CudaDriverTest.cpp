//===- CudaDriverTest.cpp - tests of what there is without a GPU ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CUDA/Driver.h"
#include "CUDA/Module.h"

#include <cstring>
#include <elf.h>
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

/// A kernel has a section for its parameters, a device function has none.
TEST(CudaDriverTest, KernelsOfAnElfFile) {
  std::string names("\0.text.a_kernel\0.nv.constant0.a_kernel\0.text.helper\0",
                    52);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_shoff = sizeof(header) + names.size();
  header.e_shnum = 4;
  header.e_shstrndx = 3;
  Elf64_Shdr sections[4] = {};
  sections[0].sh_name = 1;
  sections[1].sh_name = 16;
  sections[2].sh_name = 39;
  sections[3].sh_offset = sizeof(header);
  sections[3].sh_size = names.size();
  std::string image(reinterpret_cast<char *>(&header), sizeof(header));
  image += names;
  image.append(reinterpret_cast<char *>(sections), sizeof(sections));
  EXPECT_EQ(listKernels(image), std::vector<std::string>{"a_kernel"});
  // A part of it is no harm.
  for (size_t size = 0; size < image.size(); ++size)
    EXPECT_LE(listKernels(image.substr(0, size)).size(), 1u);
}
