//===- Main.cpp - tests whose ranks are processes of mpirun ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ranks.h"

#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>

using namespace moe::rt;
using namespace moe::rt::test;

const mpi::Library &moe::rt::test::library() {
  auto found = mpi::join(30);
  if (!found.isOk()) {
    std::fprintf(stderr, "%s\n", found.status().message().c_str());
    std::exit(1);
  }
  return **found;
}

std::unique_ptr<mpi::MpiBootstrap>
moe::rt::test::makeBootstrap(double seconds) {
  const mpi::Library &mpi = library();
  auto comm = mpi::Communicator::copy(mpi, mpi.commWorld, 30);
  if (!comm.isOk()) {
    std::fprintf(stderr, "%s\n", comm.status().message().c_str());
    std::exit(1);
  }
  auto made = std::make_unique<mpi::MpiBootstrap>(comm.take());
  made->setTimeout(seconds);
  return made;
}

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  int rank = -1;
  (void)library().commRank(library().commWorld, &rank);
  // One rank tells what is run; of the others only failures are of interest.
  auto &listeners = testing::UnitTest::GetInstance()->listeners();
  class Failures : public testing::EmptyTestEventListener {
  public:
    explicit Failures(int rank) : rank(rank) {}
    void OnTestPartResult(const testing::TestPartResult &result) override {
      if (result.failed())
        std::printf("rank %d: %s:%d: %s\n", rank, result.file_name(),
                    result.line_number(), result.message());
    }

  private:
    int rank;
  };
  if (rank != 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Failures(rank));
  }
  int result = RUN_ALL_TESTS();
  // Tests of what goes wrong leave that to nobody else.
  (void)library().finalize();
  return result;
}
