/*===- Recovery.h - Surviving crashes of the compiler -------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_RECOVERY_H
#define MOE_MLIR_C_RECOVERY_H

#include "mlir-c/Support.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs body(bodyData) such that a failure of the compiler in it does not end
 * the process: a fatal error of LLVM, and SIGSEGV, SIGBUS, SIGABRT, SIGFPE,
 * SIGILL and SIGTRAP, stack overflow included. Returns success when the body
 * came to its end. Otherwise `onFailure` gets a sentence that says what
 * happened, and failure is returned.
 *
 * Functions that compile (moeCompile) do so by themselves. This one is for the
 * others: parsing, verifying, running passes, printing.
 *
 * - The body runs on a thread of its own with a stack of 64 MiB; the caller
 *   waits. Threads of a thread pool are not covered: use contexts without
 *   multi-threading (mlirContextEnableMultithreading).
 * - Whatever the body held is lost: nothing is destroyed, no lock released. A
 *   context that was in use must not be used again, not even destroyed.
 * - While a body runs the process has handlers for the signals above. On other
 *   threads they do what would have been done without them.
 * - Safe from several threads at once, and in itself. */
MLIR_CAPI_EXPORTED MlirLogicalResult
moeRunRecoverably(void (*body)(void *bodyData), void *bodyData,
                  MlirStringCallback onFailure, void *onFailureData);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_RECOVERY_H */
