//===- CApiLimitTest.cpp - more memory than there is through the C API
//------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiFixture.h"

#include <sys/resource.h>

/// A limit on the size of files holds for symmetric memory, too. The process
/// has not asked for the signal, and does not get it.
TEST(CApiLimitTest, LimitOnTheSizeOfFilesIsAnError) {
  expectInChild([] {
    rlimit small = {1 << 20, 1 << 20};
    moert_context *own = nullptr;
    void *memory = nullptr;
    if (moert_context_create(nullptr, nullptr, &own) != MOERT_OK ||
        setrlimit(RLIMIT_FSIZE, &small) != 0)
      return false;
    bool isFine =
        moert_symm_alloc(own, 4 << 20, &memory) == MOERT_OUT_OF_MEMORY &&
        std::string(moert_last_error()) ==
            "rank 0: allocation of 4194304 bytes of symmetric memory: cannot "
            "reserve a memory file of 4194304 bytes: files of this process may "
            "have 1048576 bytes at most; raise that limit (ulimit -f)";
    if (!isFine)
      fprintf(stderr, "%s\n", moert_last_error());
    return isFine;
  });
}

TEST(CApiLimitTest, MoreSymmetricMemoryThanIsReservedIsAnError) {
  moert_options options{};
  options.struct_size = sizeof(options);
  options.symm_reserve_bytes = size_t(2) << 20;
  moert_context *small = nullptr;
  ASSERT_MOERT(moert_context_create(nullptr, &options, &small));
  void *memory = nullptr;
  EXPECT_EQ(moert_symm_alloc(small, 4 << 20, &memory), MOERT_OUT_OF_MEMORY);
  EXPECT_STREQ(moert_last_error(),
               "rank 0: allocation of 4194304 bytes of symmetric memory: "
               "4194304 bytes do not fit the symmetric heap of 2097152 bytes; "
               "a larger one can be reserved (--symm-reserve of moe-run)");
  moert_context_destroy(small);
}

/// More than is free, though not more than the machine has.
TEST(CApiLimitTest, MoreSymmetricMemoryThanIsFreeIsAnError) {
  moert_options options{};
  options.struct_size = sizeof(options);
  options.symm_reserve_bytes = size_t(1) << 44;
  moert_context *large = nullptr;
  ASSERT_MOERT(moert_context_create(nullptr, &options, &large));
  size_t bytes =
      size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE));
  bytes = bytes / 1000 * 999 >> 21 << 21;
  void *memory = nullptr;
  EXPECT_EQ(moert_symm_alloc(large, bytes, &memory), MOERT_OUT_OF_MEMORY);
  std::string number = std::to_string(bytes);
  EXPECT_EQ(std::string(moert_last_error())
                .rfind("rank 0: allocation of " + number +
                           " bytes of symmetric memory: " + number,
                       0),
            0u)
      << moert_last_error();
  ASSERT_MOERT(moert_symm_alloc(large, 64, &memory));
  moert_context_destroy(large);
}
