/*===- Diagnostics.h - Diagnostics that outlive their context -----*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_DIAGNOSTICS_H
#define MOE_MLIR_C_DIAGNOSTICS_H

#include "mlir-c/Diagnostics.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A diagnostic as plain data. It lives as long as what it was taken from: a
 * collector that is neither cleared nor destroyed, or a result. */
typedef struct MoeDiagnosticRecord {
  const void *ptr;
} MoeDiagnosticRecord;

MLIR_CAPI_EXPORTED MlirDiagnosticSeverity
moeDiagnosticRecordGetSeverity(MoeDiagnosticRecord record);

/* The text without place and severity. */
MLIR_CAPI_EXPORTED MlirStringRef
moeDiagnosticRecordGetMessage(MoeDiagnosticRecord record);

/* The place in a source file; an empty name and zeros when it is unknown. */
MLIR_CAPI_EXPORTED MlirStringRef
moeDiagnosticRecordGetFile(MoeDiagnosticRecord record);
MLIR_CAPI_EXPORTED int64_t
moeDiagnosticRecordGetLine(MoeDiagnosticRecord record);
MLIR_CAPI_EXPORTED int64_t
moeDiagnosticRecordGetColumn(MoeDiagnosticRecord record);

/* The name of the op that it is about, such as "moe.dispatch"; empty when it is
 * unknown. When the message names none, and a module is compiled, the op of
 * that module at the same place. */
MLIR_CAPI_EXPORTED MlirStringRef
moeDiagnosticRecordGetOperation(MoeDiagnosticRecord record);

MLIR_CAPI_EXPORTED intptr_t
moeDiagnosticRecordGetNumNotes(MoeDiagnosticRecord record);
MLIR_CAPI_EXPORTED MoeDiagnosticRecord
moeDiagnosticRecordGetNote(MoeDiagnosticRecord record, intptr_t pos);

/* Collects the diagnostics of a context from now on, which then go nowhere
 * else. Destroy it before the context, except after a crash. */
typedef struct MoeDiagnosticCollector {
  void *ptr;
} MoeDiagnosticCollector;

MLIR_CAPI_EXPORTED MoeDiagnosticCollector
moeDiagnosticCollectorCreate(MlirContext context);
MLIR_CAPI_EXPORTED void
moeDiagnosticCollectorDestroy(MoeDiagnosticCollector collector);
MLIR_CAPI_EXPORTED intptr_t
moeDiagnosticCollectorGetNumRecords(MoeDiagnosticCollector collector);
MLIR_CAPI_EXPORTED MoeDiagnosticRecord
moeDiagnosticCollectorGetRecord(MoeDiagnosticCollector collector, intptr_t pos);
MLIR_CAPI_EXPORTED void
moeDiagnosticCollectorClear(MoeDiagnosticCollector collector);

/* The first place in a source file that a location names: the callee's of a
 * call, the first of a fused one. Returns false, and sets nothing, when there
 * is none. The name lives as long as the context. */
MLIR_CAPI_EXPORTED bool moeLocationGetFile(MlirLocation location,
                                           MlirStringRef *file, int64_t *line,
                                           int64_t *column);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_DIAGNOSTICS_H */
