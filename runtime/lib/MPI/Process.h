//===- Process.h - this process as one of MPI -------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MPI_Init and MPI_Finalize wait for all processes of a job without a bound,
/// and can be called once. So they run on threads of their own, which this
/// process stops waiting for after a while; and MPI is ended by whoever has
/// begun it, but not when some process may not take part.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_MPI_PROCESS_H
#define MOE_RUNTIME_LIB_MPI_PROCESS_H

#include "Library.h"

namespace moe::rt::mpi {

/// The library, in a process that has MPI running: what runs already, or what
/// this call begins and the exit of the process ends. Waits `timeoutSeconds` at
/// most; after that has failed, every later call fails.
Expected<const Library *> join(double timeoutSeconds);

/// MPI as it runs in this process; an error when it does not.
Expected<const Library *> joinRunning();

/// Whether MPI runs in this process: it is loaded, and was initialized.
bool isRunning();

/// Some process of the job may not come to MPI_Finalize any more, so this one
/// ends without it, if it is the runtime's to call.
void abandon();

} // namespace moe::rt::mpi

#endif // MOE_RUNTIME_LIB_MPI_PROCESS_H
