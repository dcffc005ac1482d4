/*===- version.c - a program on the compiler's C library ----------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include <moe-mlir-c/Compiler.h>

#include <stdio.h>

int main(void) {
  MlirStringRef version = moeCompilerGetVersion();
  printf("%.*s\n", (int)version.length, version.data);
  return moeCompilerGetApiVersion() == MOE_COMPILER_API_VERSION ? 0 : 1;
}
