/*===- IR.h - Contexts and modules in C ---------------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_IR_H
#define MOE_MLIR_C_IR_H

#include "mlir-c/IR.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A context with all dialects of MLIR and of this project registered. It starts
 * no threads, so that moeRunRecoverably covers all that it does, and
 * diagnostics do not repeat the op they are about. The caller destroys it. */
MLIR_CAPI_EXPORTED MlirContext moeContextCreate(void);

/* Parses and verifies a module: text, or bytecode. Neither has to end with a
 * zero, or lie at a certain alignment. Locations in text name the file
 * `sourceName`. Text with several ops, or one that is not a module, is put into
 * a module. Null when there are errors, which are diagnostics of the context.
 */
MLIR_CAPI_EXPORTED MlirModule moeModuleParse(MlirContext context,
                                             MlirStringRef source,
                                             MlirStringRef sourceName);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_IR_H */
