//===- unwilling.c - a CUDA driver that refuses a call now and then -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Stands before the machine's driver, on which it depends under another name.
/// The file that MOE_TEST_REFUSAL names says what is refused, as "cuMemMap 2":
/// the second call from then on. The file is removed when that is done.
///
//===----------------------------------------------------------------------===//

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { outOfMemory = 2, unknown = 999 };

static int isRefused(const char *function) {
  const char *path = getenv("MOE_TEST_REFUSAL");
  FILE *file = path ? fopen(path, "r+") : NULL;
  if (!file)
    return 0;
  char name[64];
  int left = 0;
  int isMeant =
      fscanf(file, "%63s %d", name, &left) == 2 && strcmp(name, function) == 0;
  if (isMeant && left > 1) {
    rewind(file);
    fprintf(file, "%s %d ", name, left - 1);
  }
  fclose(file);
  return isMeant && left <= 1 && remove(path) == 0;
}

typedef unsigned long long Handle;

#define FORWARD(error, function, types, values)                                \
  int function types {                                                         \
    if (isRefused(#function))                                                  \
      return error;                                                            \
    int(*next) types = (int(*) types)dlsym(RTLD_NEXT, #function);              \
    return next values;                                                        \
  }

FORWARD(outOfMemory, cuMemCreate,
        (Handle * memory, size_t bytes, const void *properties,
         unsigned long long flags),
        (memory, bytes, properties, flags))
FORWARD(unknown, cuMemMap,
        (unsigned long long address, size_t bytes, size_t offset, Handle memory,
         unsigned long long flags),
        (address, bytes, offset, memory, flags))
FORWARD(unknown, cuMemSetAccess,
        (unsigned long long address, size_t bytes, const void *access,
         size_t count),
        (address, bytes, access, count))
FORWARD(unknown, cuMemExportToShareableHandle,
        (void *handle, Handle memory, int type, unsigned long long flags),
        (handle, memory, type, flags))
FORWARD(unknown, cuMemImportFromShareableHandle,
        (Handle * memory, void *handle, int type), (memory, handle, type))
