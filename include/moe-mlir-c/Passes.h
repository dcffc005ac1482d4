/*===- Passes.h - C interface to the passes -----------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_PASSES_H
#define MOE_MLIR_C_PASSES_H

#include "mlir-c/Support.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Registers the passes and pipelines of this project and the upstream passes
 * with the global pass registry, so that mlirParsePassPipeline and
 * mlirOpPassManagerAddPipeline know their names. Call it once. */
MLIR_CAPI_EXPORTED void moeRegisterAllPasses(void);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_PASSES_H */
