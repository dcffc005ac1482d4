/*===- support.h - What the programs of this folder share ---------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_TEST_CAPI_SUPPORT_H
#define MOE_MLIR_TEST_CAPI_SUPPORT_H

#include "moe-mlir-c/Compiler.h"

#include <stdio.h>
#include <string.h>

static int failures = 0;

static inline void expectAt(bool condition, const char *what, int line) {
  if (condition)
    return;
  fprintf(stderr, "failed in line %d: %s\n", line, what);
  ++failures;
}

#define EXPECT(condition) expectAt(condition, #condition, __LINE__)

static inline MlirStringRef str(const char *text) {
  return mlirStringRefCreateFromCString(text);
}

static inline bool startsWith(MlirStringRef text, const char *start) {
  return text.length >= strlen(start) &&
         memcmp(text.data, start, strlen(start)) == 0;
}

static inline bool contains(MlirStringRef text, const char *part) {
  for (size_t i = 0; i + strlen(part) <= text.length; ++i)
    if (memcmp(text.data + i, part, strlen(part)) == 0)
      return true;
  return false;
}

/* Expects `text` to be `wanted`, and shows both when it is not. */
static inline void expectText(MlirStringRef text, const char *wanted,
                              int line) {
  if (mlirStringRefEqual(text, str(wanted)))
    return;
  fprintf(stderr, "failed in line %d: got '%.*s', wanted '%s'\n", line,
          (int)text.length, text.data, wanted);
  ++failures;
}

#define EXPECT_TEXT(text, wanted) expectText(text, wanted, __LINE__)

static const char *const kExchange =
    "shard.grid @ep(shape = 2)\n"
    "func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)\n"
    "    -> (tensor<12x4xf32>, tensor<2xi32>) {\n"
    "  %recv, %n = moe.alltoallv %send, %counts on @ep\n"
    "      : (tensor<6x4xf32>, tensor<2xi32>)\n"
    "     -> (tensor<12x4xf32>, tensor<2xi32>)\n"
    "  return %recv, %n : tensor<12x4xf32>, tensor<2xi32>\n"
    "}\n";

/* Compiles text as "exchange.mlir"; with an option unless `name` is null. */
static inline MoeCompileResult compileText(const char *text, const char *name,
                                           const char *value) {
  MoeCompileOption option = {str(name ? name : ""), str(value ? value : "")};
  return moeCompile(str(text), str("exchange.mlir"), name ? 1 : 0, &option);
}

/* Ends a failed compilation: its first error has to be this. */
static inline void expectError(MoeCompileResult result, const char *message,
                               int line) {
  expectAt(!moeCompileResultIsSuccess(result), "refused", line);
  expectAt(!moeCompileResultIsCrash(result), "no crash", line);
  expectAt(moeCompileResultGetOutput(result).length == 0, "no output", line);
  if (moeCompileResultGetNumDiagnostics(result) > 0)
    expectText(
        moeDiagnosticRecordGetMessage(moeCompileResultGetDiagnostic(result, 0)),
        message, line);
  else
    expectAt(false, "a diagnostic", line);
  moeCompileResultDestroy(result);
}

#define EXPECT_ERROR(result, message) expectError(result, message, __LINE__)

#endif /* MOE_MLIR_TEST_CAPI_SUPPORT_H */
