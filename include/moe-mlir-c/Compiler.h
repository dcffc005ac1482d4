/*===- Compiler.h - From a module to an artifact, in C ------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_COMPILER_H
#define MOE_MLIR_C_COMPILER_H

#include "moe-mlir-c/Diagnostics.h"

#include "mlir-c/IR.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What moe-compile does, as functions.
 *
 *   MoeCompileOption options[] = {{target, cuda}};
 *   MoeCompileResult result = moeCompile(text, name, 1, options);
 *   if (moeCompileResultIsSuccess(result))
 *     use(moeCompileResultGetOutput(result));
 *   moeCompileResultDestroy(result);
 *
 * - Safe from several threads at once. Each compilation has a context of its
 *   own, and uses one thread.
 * - No failure of the compiler ends the process. Wrong options, wrong modules,
 *   fatal errors of LLVM and crashes all come back as a result with
 *   diagnostics, and the next compilation works. What a crash held is leaked;
 *   callers who cannot take that compile in a process of their own.
 *   moe-mlir-c/Recovery.h says which signals are handled meanwhile.
 * - Nothing is written to the file system. */

/* Grows by one when a function is removed or changes what it does, not when one
 * is added. A program that was compiled with this header works with a library
 * whose moeCompilerGetApiVersion returns the same number. */
#define MOE_COMPILER_API_VERSION 1

MLIR_CAPI_EXPORTED int32_t moeCompilerGetApiVersion(void);

/* The compiler, such as "moe-mlir 0.1.0, LLVM 22.1.8". */
MLIR_CAPI_EXPORTED MlirStringRef moeCompilerGetVersion(void);

/* A text that differs between any two builds of the compiler that may compile
 * one module to different artifacts: hexadecimal digits that the linker made of
 * the library's content. Empty when it was linked without. */
MLIR_CAPI_EXPORTED MlirStringRef moeCompilerGetBuildId(void);

/* An option, named and written like those of moe-compile (`moe-compile --help`
 * without the dashes): target, cpu, opt-level (-O there), emit, ptx-version,
 * gpu-format, combine-algorithm, blocks, ... Each may be given once. These two
 * have other defaults than there:
 *
 *   report   json: always made; none, or table, for another
 *   remarks  .*: all are collected; a regular expression for some */
typedef struct MoeCompileOption {
  MlirStringRef name;
  MlirStringRef value;
} MoeCompileOption;

/* Calls `callback` for each option there is: with its name, what `--help` says
 * of it, and userData. */
MLIR_CAPI_EXPORTED void moeCompileOptionsForEach(
    void (*callback)(MlirStringRef name, MlirStringRef description,
                     void *userData),
    void *userData);

/* What a compilation was given, and came to. */
typedef struct MoeCompileResult {
  void *ptr;
} MoeCompileResult;

/* Compiles a module: text, or bytecode. Neither has to end with a zero.
 * `sourceName` is the file that locations in text name; it need not exist. */
MLIR_CAPI_EXPORTED MoeCompileResult moeCompile(MlirStringRef source,
                                               MlirStringRef sourceName,
                                               intptr_t numOptions,
                                               const MoeCompileOption *options);

/* Compiles a module of any context that holds the dialects it uses. The module
 * is not changed, and goes through bytecode: nobody else may use its context
 * until this returns. */
MLIR_CAPI_EXPORTED MoeCompileResult moeCompileModule(
    MlirModule module, intptr_t numOptions, const MoeCompileOption *options);

/* Compiles nothing, but checks the options. The output is a text of everything
 * that the artifact depends on besides the module and the build of the
 * compiler: all options with defaults filled in, `native` and the like
 * resolved. Equal texts mean equal artifacts; a cache takes it for a part of
 * its key. */
MLIR_CAPI_EXPORTED MoeCompileResult
moeCompileDescribeOptions(intptr_t numOptions, const MoeCompileOption *options);

MLIR_CAPI_EXPORTED void moeCompileResultDestroy(MoeCompileResult result);

MLIR_CAPI_EXPORTED bool moeCompileResultIsSuccess(MoeCompileResult result);

/* Whether the compiler itself failed: a fatal error or a crash, which a
 * diagnostic describes. */
MLIR_CAPI_EXPORTED bool moeCompileResultIsCrash(MoeCompileResult result);

/* The bytes of the artifact, or of the stage that `emit` named. Empty unless it
 * is a success. All strings live as long as the result. */
MLIR_CAPI_EXPORTED MlirStringRef
moeCompileResultGetOutput(MoeCompileResult result);

/* The PTX of the kernels, without a zero at its end; empty when the artifact
 * has none. */
MLIR_CAPI_EXPORTED MlirStringRef
moeCompileResultGetPTX(MoeCompileResult result);

/* What `moe-compile --report` prints. */
MLIR_CAPI_EXPORTED MlirStringRef
moeCompileResultGetReport(MoeCompileResult result);

/* Errors and warnings, in order. */
MLIR_CAPI_EXPORTED intptr_t
moeCompileResultGetNumDiagnostics(MoeCompileResult result);
MLIR_CAPI_EXPORTED MoeDiagnosticRecord
moeCompileResultGetDiagnostic(MoeCompileResult result, intptr_t pos);

/* What the compiler chose, and why. */
MLIR_CAPI_EXPORTED intptr_t
moeCompileResultGetNumRemarks(MoeCompileResult result);
MLIR_CAPI_EXPORTED MoeDiagnosticRecord
moeCompileResultGetRemark(MoeCompileResult result, intptr_t pos);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_COMPILER_H */
