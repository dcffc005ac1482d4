//===- Mpi.h - groups whose ranks are processes of MPI ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MPI's library is opened when one of these is called, and never linked.
/// Nothing here waits longer than its time-out, though MPI's own functions
/// would.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MPI_H
#define MOE_RUNTIME_MPI_H

#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/LaunchedJob.h"

#include <memory>

namespace moe::rt {

/// Collective among the ranks of a communicator: a group of them, numbered as
/// there. `comm` is the address of a variable of type MPI_Comm, in a process
/// where MPI is initialized. The communicator is copied, and may be freed.
Expected<std::unique_ptr<Bootstrap>> createMpiBootstrap(const void *comm,
                                                        double timeoutSeconds);

/// Collective among all processes of a job that mpirun or srun has started, on
/// any number of hosts. Initializes MPI unless somebody has; then the exit of
/// the process finalizes it.
Expected<std::unique_ptr<Bootstrap>>
createMpiJobBootstrap(const LaunchedJob &job, double timeoutSeconds);

/// Whether MPI is initialized in this process.
bool isMpiRunning();

} // namespace moe::rt

#endif // MOE_RUNTIME_MPI_H
