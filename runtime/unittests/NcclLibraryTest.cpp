//===- NcclLibraryTest.cpp - which NCCL is used, or why none --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NCCL/Library.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>

using namespace moe::rt;
using namespace moe::rt::nccl;

namespace {
/// A library stays in the process that has opened it, so each test is run by a
/// process of its own, of which it looks at what it says at its end.
class NcclLibraryTest : public ::testing::Test {
protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    unsetenv("MOE_NCCL_LIBRARY");
  }
};
} // namespace

#define EXPECT_SAYS(statement, regex)                                          \
  EXPECT_EXIT(statement, ::testing::ExitedWithCode(0), regex)

static const char usual[] = MOE_STANDIN_NCCL_DIR "/libnccl.so.2";
static const char second[] = MOE_STANDIN_NCCL_DIR "/second/libnccl.so.2";
static const char bare[] = MOE_STANDIN_NCCL_DIR "/bare/libnccl.so.2";

[[noreturn]] static void say(const Status &status, const Library &library) {
  std::fprintf(stderr, "%s %s [%s]", codeName(status.code()),
               status.isOk() ? library.str().c_str() : status.message().c_str(),
               library.isOurs ? "ours" : "found");
  std::exit(0);
}

[[noreturn]] static void openAndSay(const char *file) {
  Library library;
  Status status = openLibrary(file, library);
  say(status, library);
}

[[noreturn]] static void getAndSay() {
  auto library = Library::get();
  say(library.status(), library.isOk() ? **library : Library());
}

static void load(const char *file) {
  if (dlopen(file, RTLD_NOW))
    return;
  std::fprintf(stderr, "%s", dlerror());
  std::exit(1);
}

TEST_F(NcclLibraryTest, Versions) {
  EXPECT_EQ(versionText(22809), "2.28.9");
  EXPECT_EQ(versionText(20900), "2.9.0");
  EXPECT_EQ(versionText(2804), "2.8.4");
}

TEST_F(NcclLibraryTest, ThereIsNone) {
  EXPECT_SAYS(openAndSay("/nowhere/libnccl.so.2"),
              "^UNAVAILABLE there is no NCCL: /nowhere/libnccl.so.2: cannot "
              "open shared object file: No such file or directory "
              "\\(MOE_NCCL_LIBRARY\\); install the package libnccl2, or "
              "nvidia-nccl-cu13 from PyPI and set MOE_NCCL_LIBRARY to its "
              "libnccl.so.2 ");
}

TEST_F(NcclLibraryTest, UsualName) {
  EXPECT_SAYS(openAndSay(nullptr), "^OK NCCL 2.28.9 \\(.*/nccl/libnccl.so.2\\) "
                                   "\\[ours\\]$");
}

TEST_F(NcclLibraryTest, NamedByTheEnvironment) {
  auto named = [] {
    setenv("MOE_NCCL_LIBRARY", second, 1);
    getAndSay();
  };
  EXPECT_SAYS(named(), "^OK NCCL 2.28.9 \\(.*/second/libnccl.so.2\\)");
}

TEST_F(NcclLibraryTest, OneThatIsLoadedComesFirst) {
  auto loaded = [] {
    load(second);
    setenv("MOE_NCCL_LIBRARY", usual, 1);
    getAndSay();
  };
  EXPECT_SAYS(loaded(), "^OK NCCL 2.28.9 \\(.*/second/libnccl.so.2\\) "
                        "\\[found\\]$");
}

TEST_F(NcclLibraryTest, TooOld) {
  auto old = [](const char *version) {
    setenv("MOE_STANDIN_NCCL_VERSION", version, 1);
    openAndSay(bare);
  };
  // Before it is asked for functions that it does not have.
  EXPECT_SAYS(old("2804"), "^UNAVAILABLE NCCL 2.8.4 "
                           "\\(.*/bare/libnccl.so.2\\) is too old: 2.9.0 is "
                           "the oldest that works, .* CUDA graphs .*; install "
                           "the package libnccl2");
  EXPECT_SAYS(old("20908"), "^UNAVAILABLE NCCL 2.9.8 .* lacks ncclSend; ");
}

TEST_F(NcclLibraryTest, TwoCopies) {
  auto both = [] {
    load(usual);
    load(second);
    openAndSay(nullptr);
  };
  EXPECT_SAYS(both(),
              "^UNAVAILABLE this process has loaded two copies of NCCL, "
              ".*/nccl/libnccl.so.2 and .*/second/libnccl.so.2: ");
}

TEST_F(NcclLibraryTest, SecondCopyThatComesLater) {
  auto later = [] {
    auto first = Library::get();
    if (!first.isOk())
      say(first.status(), Library());
    load(second);
    getAndSay();
  };
  EXPECT_SAYS(later(), "^UNAVAILABLE this process has loaded two copies");
}
