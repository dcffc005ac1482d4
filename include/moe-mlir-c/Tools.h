/*===- Tools.h - The tools as functions ---------------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_TOOLS_H
#define MOE_MLIR_C_TOOLS_H

#include "mlir-c/Support.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the programs of the same names do with their command lines; argv[0] is
 * the name that messages begin with. They return the exit status. They are for
 * the main function of a program: they read and write standard streams, end the
 * process for `--help`, a wrong command line and fatal errors, and a process
 * calls one of them, once. */
MLIR_CAPI_EXPORTED int moeCompileMain(int argc, char **argv);
MLIR_CAPI_EXPORTED int moeOptMain(int argc, char **argv);
MLIR_CAPI_EXPORTED int moeReduceMain(int argc, char **argv);
MLIR_CAPI_EXPORTED int moeLspServerMain(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_TOOLS_H */
