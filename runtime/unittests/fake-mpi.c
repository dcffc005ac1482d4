/*===- fake-mpi.c - an MPI that knows no more than its version ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

#include <string.h>

int MPI_Get_version(int *version, int *subversion) {
  *version = VERSION;
  *subversion = 1;
  return 0;
}

int MPI_Get_library_version(char *text, int *length) {
  strcpy(text, NAME);
  *length = (int)strlen(NAME);
  return 0;
}
