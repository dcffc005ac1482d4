//===- MpiPlugin.h - C functions of the MPI plug-in -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MPI is the one part of the runtime that has a library behind it, so it
/// lives in a shared object of its own, libmoe_bootstrap_mpi.so, which is
/// opened by programs that run inside an MPI job.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_BOOTSTRAP_MPIPLUGIN_H
#define MOE_RUNTIME_LIB_BOOTSTRAP_MPIPLUGIN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// All return 0 on success, or write a text to `error`.
int moe_mpi_init(int *rank, int *size, char *error, size_t errorBytes);
int moe_mpi_allgather(const void *in, size_t bytes, void *out,
                      double timeoutSeconds, char *error, size_t errorBytes);
/// Leaves MPI; not after a failed all-gather, which may leave messages behind.
void moe_mpi_finalize(void);
void moe_mpi_abort(int exitCode);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // MOE_RUNTIME_LIB_BOOTSTRAP_MPIPLUGIN_H
