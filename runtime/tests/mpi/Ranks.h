//===- Ranks.h - tests whose ranks are processes of mpirun ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_MPI_RANKS_H
#define MOE_RUNTIME_TESTS_MPI_RANKS_H

#include "MPI/MpiBootstrap.h"
#include "MPI/Process.h"

#include <memory>
#include <vector>

namespace moe::rt::test {

/// The library of this process, with MPI running. All processes of the job run
/// the same tests in the same order.
const mpi::Library &library();

/// A bootstrap of all processes, whose time-out is `seconds`.
std::unique_ptr<mpi::MpiBootstrap> makeBootstrap(double seconds = 30);

} // namespace moe::rt::test

#endif // MOE_RUNTIME_TESTS_MPI_RANKS_H
