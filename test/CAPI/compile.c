/*===- compile.c - The compiler, used from C ----------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

/* Returns the number of expectations that were not met, and prints them. */

#include "support.h"

#include "moe-mlir-c/IR.h"

#include <stdlib.h>

static void testVersions(void) {
  EXPECT(moeCompilerGetApiVersion() == MOE_COMPILER_API_VERSION);
  EXPECT(startsWith(moeCompilerGetVersion(), "moe-mlir 0.1.0, LLVM 22."));
  MlirStringRef id = moeCompilerGetBuildId();
  EXPECT(id.length == 40);
  for (size_t i = 0; i < id.length; ++i)
    EXPECT(strchr("0123456789abcdef", id.data[i]) != NULL);
}

static void testHost(void) {
  MoeCompileResult result = compileText(kExchange, NULL, NULL);
  EXPECT(moeCompileResultIsSuccess(result));
  EXPECT(startsWith(moeCompileResultGetOutput(result), "\177ELF"));
  EXPECT(contains(moeCompileResultGetOutput(result), "exchange.mlir:4:15"));
  EXPECT(moeCompileResultGetPTX(result).length == 0);
  EXPECT(
      contains(moeCompileResultGetReport(result), "\"op\": \"moe.alltoallv\""));
  EXPECT(moeCompileResultGetNumDiagnostics(result) == 0);
  moeCompileResultDestroy(result);

  result = compileText(kExchange, "emit", "symm");
  EXPECT(contains(moeCompileResultGetOutput(result), "symm.put"));
  moeCompileResultDestroy(result);
}

static void testCUDA(void) {
  MoeCompileOption options[] = {{str("target"), str("cuda:sm_90")},
                                {str("blocks"), str("3")},
                                {str("report"), str("table")}};
  MoeCompileResult result =
      moeCompile(str(kExchange), str("exchange.mlir"), 3, options);
  EXPECT(moeCompileResultIsSuccess(result));
  MlirStringRef ptx = moeCompileResultGetPTX(result);
  EXPECT(contains(ptx, ".target sm_90"));
  EXPECT(ptx.length > 0 && ptx.data[ptx.length - 1] != '\0');
  EXPECT(startsWith(moeCompileResultGetReport(result), "op "));
  EXPECT(contains(moeCompileResultGetReport(result), " 3 x "));

  intptr_t numRemarks = moeCompileResultGetNumRemarks(result);
  EXPECT(numRemarks > 0);
  if (numRemarks > 0) {
    MoeDiagnosticRecord remark = moeCompileResultGetRemark(result, 0);
    EXPECT(moeDiagnosticRecordGetSeverity(remark) == MlirDiagnosticRemark);
    EXPECT_TEXT(moeDiagnosticRecordGetFile(remark), "exchange.mlir");
    EXPECT(moeDiagnosticRecordGetLine(remark) == 4);
    EXPECT_TEXT(moeDiagnosticRecordGetOperation(remark), "moe.alltoallv");
  }
  moeCompileResultDestroy(result);

  options[2].name = str("remarks");
  options[2].value = str("no such category");
  result = moeCompile(str(kExchange), str(""), 3, options);
  EXPECT(moeCompileResultIsSuccess(result));
  EXPECT(moeCompileResultGetNumRemarks(result) == 0);
  moeCompileResultDestroy(result);
}

static void append(MlirStringRef text, void *data) {
  struct {
    char *text;
    size_t length;
  } *all = data;
  all->text = realloc(all->text, all->length + text.length + 1);
  memcpy(all->text + all->length, text.data, text.length);
  all->length += text.length;
  all->text[all->length] = '\0';
}

/* Text, bytecode and a module of a context become the same artifact. */
static void testForms(void) {
  MoeCompileResult text = compileText(kExchange, NULL, NULL);
  MlirStringRef wanted = moeCompileResultGetOutput(text);

  /* Neither a zero at the end, nor what is behind it, matters. */
  size_t length = strlen(kExchange);
  char *buffer = malloc(length + 1);
  memcpy(buffer, kExchange, length);
  buffer[length] = '}';
  MoeCompileResult part = moeCompile(mlirStringRefCreate(buffer, length),
                                     str("exchange.mlir"), 0, NULL);
  EXPECT(mlirStringRefEqual(moeCompileResultGetOutput(part), wanted));
  moeCompileResultDestroy(part);
  free(buffer);

  MlirContext context = moeContextCreate();
  MlirModule parsed =
      moeModuleParse(context, str(kExchange), str("exchange.mlir"));
  EXPECT(!mlirModuleIsNull(parsed));
  MlirOperation op = mlirModuleGetOperation(parsed);
  struct {
    char *text;
    size_t length;
  } before = {NULL, 0}, after = {NULL, 0}, bytecode = {NULL, 0};
  mlirOperationPrint(op, append, &before);
  MoeCompileResult module = moeCompileModule(parsed, 0, NULL);
  EXPECT(mlirStringRefEqual(moeCompileResultGetOutput(module), wanted));
  moeCompileResultDestroy(module);
  mlirOperationPrint(op, append, &after);
  EXPECT(strcmp(before.text, after.text) == 0);

  mlirOperationWriteBytecode(op, append, &bytecode);
  /* At an odd address: nobody promises where bytes lie. */
  buffer = malloc(bytecode.length + 1);
  memcpy(buffer + 1, bytecode.text, bytecode.length);
  MoeCompileResult bytes = moeCompile(
      mlirStringRefCreate(buffer + 1, bytecode.length), str(""), 0, NULL);
  EXPECT(mlirStringRefEqual(moeCompileResultGetOutput(bytes), wanted));
  moeCompileResultDestroy(bytes);

  /* Bytecode of a newer MLIR: the version follows the four magic bytes. */
  buffer[1 + 4] = 0x7f;
  bytes = moeCompile(mlirStringRefCreate(buffer + 1, bytecode.length), str(""),
                     0, NULL);
  EXPECT_ERROR(bytes, "bytecode version 63 is newer than the current version "
                      "6");
  /* Bytes that end too soon. */
  buffer[1 + 4] = bytecode.text[4];
  for (size_t end = 4; end < bytecode.length; end += 97) {
    bytes = moeCompile(mlirStringRefCreate(buffer + 1, end), str(""), 0, NULL);
    EXPECT(!moeCompileResultIsSuccess(bytes));
    EXPECT(!moeCompileResultIsCrash(bytes));
    moeCompileResultDestroy(bytes);
  }
  free(buffer);
  free(before.text);
  free(after.text);
  free(bytecode.text);
  mlirModuleDestroy(parsed);
  mlirContextDestroy(context);
  moeCompileResultDestroy(text);
}

static void testOptions(void) {
  EXPECT_ERROR(compileText(kExchange, "target", "tpu"),
               "unknown target 'tpu'; expected host, cuda, nccl, cuda:<chip> "
               "or nccl:<chip>");
  EXPECT_ERROR(compileText(kExchange, "blocks", "3"),
               "option 'blocks' is for target cuda ('host' given)");
  EXPECT_ERROR(compileText(kExchange, "opt-level", "fast"),
               "unknown optimization level fast; expected 0 to 3");
  EXPECT_ERROR(
      compileText(kExchange, "emit", "wasm"),
      "unknown stage 'wasm'; expected one of: symm, coll, mlir, llvm, ptx, "
      "cubin, obj, so");
  EXPECT_ERROR(compileText(kExchange, "block", "3"),
               "unknown option 'block'; expected one of: target, ptx-version, "
               "blocks, threads, transfer, stages, team, gpu-format, ptxas, "
               "transport, schedule, pair-capacity, emit, cpu, opt-level, "
               "combine-algorithm, dispatch-algorithm, report, remarks");
  MoeCompileOption twice[] = {{str("cpu"), str("x86-64")},
                              {str("cpu"), str("x86-64")}};
  EXPECT_ERROR(moeCompile(str(kExchange), str(""), 2, twice),
               "option 'cpu' is given twice");
  MoeCompileOption zero = {str("ptxas"), mlirStringRefCreate("a\0b", 3)};
  EXPECT_ERROR(moeCompile(str(kExchange), str(""), 1, &zero),
               "option 'ptxas' expects text without zero bytes");
  MoeCompileOption number[] = {{str("target"), str("cuda")},
                               {str("blocks"), str("3x")}};
  EXPECT_ERROR(moeCompile(str(kExchange), str(""), 2, number),
               "option 'blocks' expects an integer, got '3x'");

  /* The order of options, and defaults that are written out, do not matter. */
  MoeCompileOption some[] = {{str("target"), str("cuda")},
                             {str("blocks"), str("0")},
                             {str("report"), str("none")}};
  MoeCompileOption same[] = {{str("report"), str("none")},
                             {str("opt-level"), str("3")},
                             {str("target"), str("cuda:sm_90")}};
  MoeCompileResult first = moeCompileDescribeOptions(3, some),
                   second = moeCompileDescribeOptions(3, same);
  EXPECT(moeCompileResultIsSuccess(first));
  EXPECT(mlirStringRefEqual(moeCompileResultGetOutput(first),
                            moeCompileResultGetOutput(second)));
  EXPECT(contains(moeCompileResultGetOutput(first), "target=cuda:sm_90\n"));
  moeCompileResultDestroy(first);
  moeCompileResultDestroy(second);
  EXPECT_ERROR(moeCompileDescribeOptions(2, twice),
               "option 'cpu' is given twice");
}

static void countOption(MlirStringRef name, MlirStringRef description,
                        void *count) {
  EXPECT(name.length > 0 && description.length > 0);
  ++*(int *)count;
}

static void testModules(void) {
  int numOptions = 0;
  moeCompileOptionsForEach(countOption, &numOptions);
  EXPECT(numOptions == 19);

  MoeCompileResult result =
      compileText("func.func @f() {\n  mystery\n}\n", NULL, NULL);
  MoeDiagnosticRecord error = moeCompileResultGetDiagnostic(result, 0);
  EXPECT(moeDiagnosticRecordGetSeverity(error) == MlirDiagnosticError);
  EXPECT_TEXT(moeDiagnosticRecordGetFile(error), "exchange.mlir");
  EXPECT(moeDiagnosticRecordGetLine(error) == 2);
  EXPECT(moeDiagnosticRecordGetColumn(error) == 3);
  EXPECT_ERROR(result, "custom op 'mystery' is unknown (tried 'func.mystery' "
                       "as well)");

  /* The op of a verifier, and its notes. */
  result = compileText("shard.grid @ep(shape = 2)\n"
                       "func.func @f(%x: tensor<4xi32>, %y: tensor<4xi32>) {\n"
                       "  \"some.op\"(%x) : (tensor<4xi32>) -> ()\n"
                       "  return\n}\n"
                       "func.func @f() { return }\n",
                       NULL, NULL);
  EXPECT(moeCompileResultGetNumDiagnostics(result) == 1);
  moeCompileResultDestroy(result);
  result = compileText("func.func @f() { return }\n"
                       "func.func @f() { return }\n",
                       NULL, NULL);
  error = moeCompileResultGetDiagnostic(result, 0);
  EXPECT(moeDiagnosticRecordGetNumNotes(error) == 1);
  if (moeDiagnosticRecordGetNumNotes(error) == 1) {
    MoeDiagnosticRecord note = moeDiagnosticRecordGetNote(error, 0);
    EXPECT(moeDiagnosticRecordGetSeverity(note) == MlirDiagnosticNote);
    EXPECT(moeDiagnosticRecordGetLine(note) == 1);
    EXPECT_TEXT(moeDiagnosticRecordGetMessage(note),
                "see existing symbol definition here");
  }
  EXPECT_ERROR(result, "redefinition of symbol named 'f'");

  result = compileText("func.func private @g(tensor<4xf32>)\n"
                       "func.func @f(%x: tensor<4xf32>) {\n"
                       "  call @g(%x) : (tensor<4xf32>) -> ()\n  return\n}\n",
                       NULL, NULL);
  error = moeCompileResultGetDiagnostic(result, 0);
  EXPECT_TEXT(moeDiagnosticRecordGetOperation(error), "func.call");
  EXPECT(moeDiagnosticRecordGetLine(error) == 3);
  EXPECT_ERROR(result, "'func.call' op expects 'g' to have a body");
}

int main(void) {
  testVersions();
  testHost();
  testCUDA();
  testForms();
  testOptions();
  testModules();
  printf("%d failures\n", failures);
  return failures > 0;
}
