/*===- Passes.h - C interface to the passes -----------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_PASSES_H
#define MOE_MLIR_C_PASSES_H

#include "mlir-c/IR.h"
#include "mlir-c/Pass.h"
#include "mlir-c/Support.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Registers the passes and pipelines of this project and the upstream passes
 * with the global pass registry, so that mlirParsePassPipeline and
 * mlirOpPassManagerAddPipeline know their names. Further calls do nothing. Safe
 * from several threads at once. */
MLIR_CAPI_EXPORTED void moeRegisterAllPasses(void);

/* Calls `before` and `after` around each pass of a pass manager, on the thread
 * that runs it: with the name of the pass in pipelines ("moe-plan"; empty for
 * passes that have none), the op it runs on, whether it succeeded, and
 * userData. Either may be null. After a failure the op may be invalid. */
typedef struct MoePassObserver {
  void (*before)(MlirStringRef pass, MlirOperation op, void *userData);
  void (*after)(MlirStringRef pass, MlirOperation op, bool succeeded,
                void *userData);
  void *userData;
} MoePassObserver;

MLIR_CAPI_EXPORTED void moePassManagerAddObserver(MlirPassManager manager,
                                                  MoePassObserver observer);

/* Makes a context report the remarks whose category matches a regular
 * expression (".*" for all) as diagnostics. Once for a context. */
MLIR_CAPI_EXPORTED MlirLogicalResult
moeContextEnableRemarks(MlirContext context, MlirStringRef categories);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_PASSES_H */
