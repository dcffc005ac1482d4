//===- MpiLibraryTest.cpp - MPI libraries that cannot be used -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MPI/Library.h"

#include "moe-runtime/Mpi.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

using namespace moe::rt;

static Status open(const std::string &name) {
  mpi::Library library;
  return mpi::openLibrary((MOE_FAKE_DRIVER_DIR "/" + name + ".so").c_str(),
                          RTLD_LOCAL, library);
}

static bool contains(const Status &status, const std::string &text) {
  return status.message().find(text) != std::string::npos;
}

TEST(MpiLibraryTest, OneThatIsMissingSaysWhatToInstall) {
  Status status = open("no-mpi");
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_TRUE(contains(status, "there is no MPI library: "))
      << status.message();
  EXPECT_TRUE(contains(status, "libopenmpi3")) << status.message();
}

TEST(MpiLibraryTest, AnotherMpiIsNamed) {
  Status status = open("other-mpi");
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_TRUE(contains(status, "is MPICH Version: 4.1, whose interface the "
                               "runtime does not know; install Open MPI"))
      << status.message();
  EXPECT_EQ(status.details().seen, "MPICH Version: 4.1");
}

TEST(MpiLibraryTest, TheVersionIsCheckedBeforeTheRest) {
  Status status = open("old-mpi");
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_TRUE(contains(status, "Open MPI v1.6.5 is too old: it has MPI 2.1, "
                               "and MPI 3.0 is the oldest that works"))
      << status.message();
}

TEST(MpiLibraryTest, AFunctionThatIsMissingIsNamed) {
  Status status = open("bare-mpi");
  EXPECT_EQ(status.code(), MOERT_UNAVAILABLE);
  EXPECT_EQ(status.message(), "the MPI library (Open MPI v4.1.4) cannot be "
                              "used: it lacks MPI_Initialized");
}

TEST(MpiLibraryTest, AProcessWithoutMpiSaysSo) {
  EXPECT_FALSE(isMpiRunning());
  int comm[4] = {};
  auto made = createMpiBootstrap(comm, 1);
  ASSERT_FALSE(made.isOk());
  // The machine may have no MPI at all.
  EXPECT_TRUE(made.status().code() == MOERT_UNAVAILABLE ||
              contains(made.status(), "MPI is not initialized"))
      << made.status().message();
}
