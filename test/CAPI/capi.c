/*===- capi.c - The C interface, used from C ----------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

/* Prints what test/CAPI/capi.test checks; returns the number of steps that went
 * wrong. */

#include "moe-mlir-c/Dialects.h"
#include "moe-mlir-c/Passes.h"

#include "mlir-c/BuiltinAttributes.h"
#include "mlir-c/Diagnostics.h"
#include "mlir-c/Pass.h"

#include <stdio.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char *what) {
  if (condition)
    return;
  fprintf(stderr, "failed: %s\n", what);
  ++failures;
}

static void printToStdout(MlirStringRef text, void *userData) {
  (void)userData;
  fwrite(text.data, 1, text.length, stdout);
}

static void printToStderr(MlirStringRef text, void *userData) {
  (void)userData;
  fwrite(text.data, 1, text.length, stderr);
}

static MlirLogicalResult printDiagnostic(MlirDiagnostic diagnostic,
                                         void *userData) {
  (void)userData;
  printf("diagnostic: ");
  mlirDiagnosticPrint(diagnostic, printToStdout, NULL);
  printf("\n");
  return mlirLogicalResultSuccess();
}

static void printNamespace(MlirDialectHandle handle) {
  MlirStringRef name = mlirDialectHandleGetNamespace(handle);
  printf("dialect: %.*s\n", (int)name.length, name.data);
}

/* Only the handles: enough to parse and verify. */
static void testHandles(void) {
  MlirContext context = mlirContextCreate();
  printNamespace(mlirGetDialectHandle__moe__());
  printNamespace(mlirGetDialectHandle__symm__());
  printNamespace(mlirGetDialectHandle__coll__());
  mlirDialectHandleRegisterDialect(mlirGetDialectHandle__moe__(), context);
  MlirDialect symm =
      mlirDialectHandleLoadDialect(mlirGetDialectHandle__symm__(), context);
  expect(!mlirDialectIsNull(symm), "loading symm by its handle");
  MlirAttribute space = mlirAttributeParseGet(
      context, mlirStringRefCreateFromCString("#symm.space"));
  expect(!mlirAttributeIsNull(space), "parsing #symm.space");
  mlirContextDestroy(context);
}

static const char *exchange =
    "shard.grid @ep(shape = 2)\n"
    "func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)\n"
    "    -> (tensor<12x4xf32>, tensor<2xi32>) {\n"
    "  %recv, %n = moe.alltoallv %send, %counts on @ep\n"
    "      : (tensor<6x4xf32>, tensor<2xi32>)\n"
    "     -> (tensor<12x4xf32>, tensor<2xi32>)\n"
    "  return %recv, %n : tensor<12x4xf32>, tensor<2xi32>\n"
    "}\n";

static const char *wrongGrid =
    "func.func @wrong(%send: tensor<6x4xf32>, %counts: tensor<2xi32>) {\n"
    "  %recv, %n = moe.alltoallv %send, %counts on @nowhere\n"
    "      : (tensor<6x4xf32>, tensor<2xi32>)\n"
    "     -> (tensor<12x4xf32>, tensor<2xi32>)\n"
    "  return\n"
    "}\n";

static MlirWalkResult countOurOps(MlirOperation op, void *userData) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  if ((name.length > 4 && strncmp(name.data, "moe.", 4) == 0) ||
      (name.length > 5 && strncmp(name.data, "symm.", 5) == 0))
    ++*(int *)userData;
  return MlirWalkResultAdvance;
}

static int numOurOps(MlirModule module) {
  int count = 0;
  mlirOperationWalk(mlirModuleGetOperation(module), countOurOps, &count,
                    MlirWalkPreOrder);
  return count;
}

/* Everything registered: a module goes down to the LLVM dialect. */
static void testPipeline(void) {
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  moeRegisterAllDialects(registry);
  MlirContext context =
      mlirContextCreateWithRegistry(registry, /*threadingEnabled=*/false);
  mlirDialectRegistryDestroy(registry);
  mlirContextAttachDiagnosticHandler(context, printDiagnostic, NULL, NULL);

  MlirModule bad =
      mlirModuleCreateParse(context, mlirStringRefCreateFromCString(wrongGrid));
  expect(mlirModuleIsNull(bad), "refusing a module without its grid");

  MlirModule module =
      mlirModuleCreateParse(context, mlirStringRefCreateFromCString(exchange));
  expect(!mlirModuleIsNull(module), "parsing the module");
  if (mlirModuleIsNull(module))
    return;
  mlirOperationPrint(mlirModuleGetOperation(module), printToStdout, NULL);
  printf("ops of ours: %d\n", numOurOps(module));

  moeRegisterAllPasses();
  MlirPassManager manager = mlirPassManagerCreateOnOperation(
      context, mlirStringRefCreateFromCString("builtin.module"));
  MlirLogicalResult added = mlirOpPassManagerAddPipeline(
      mlirPassManagerGetAsOpPassManager(manager),
      mlirStringRefCreateFromCString("moe-to-host"), printToStderr, NULL);
  expect(mlirLogicalResultIsSuccess(added), "parsing the pipeline");
  MlirLogicalResult ran =
      mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module));
  expect(mlirLogicalResultIsSuccess(ran), "running the pipeline");
  printf("ops of ours after moe-to-host: %d\n", numOurOps(module));
  mlirPassManagerDestroy(manager);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  testHandles();
  testPipeline();
  return failures;
}
