/*===- local.c - a hand-written artifact that does not communicate --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One entry per element type, "copy_<type>", that copies a matrix; "scalar"
// for tensors of rank 0; "many" whose two results are the same memory;
// "column" whose result is strided; "fail" which fails; "expf" which needs
// the mathematical library. Those of "copy_<type>" and "many" ask for the
memory
// of their first result.
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

#include <math.h>
#include <string.h>

struct Memref2D {
  char *allocated, *aligned;
  int64_t offset, sizes[2], strides[2];
};
struct Memref0D {
  double *allocated, *aligned;
  int64_t offset;
};

#define COPY_MANIFEST(type)                                                    \
  "{\"name\": \"copy_" type "\", \"symbol\": \"moe_entry_copy_" type "\","     \
  " \"args\": [{\"dtype\": \"" type "\", \"shape\": [-1, -1]}],"               \
  " \"results\": [{\"dtype\": \"" type "\", \"shape\": [-1, -1],"              \
  " \"extents\": [[0, 0], [0, 1]]}]},"

#define MATRIX "{\"dtype\": \"f32\", \"shape\": [-1, -1]}"
#define COLUMN "{\"dtype\": \"f32\", \"shape\": [-1, 1]}"
#define SCALAR "{\"dtype\": \"f64\", \"shape\": []}"

const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": \"host\","
    " \"cpu\": \"x86-64\", \"hash\": \"local\", \"ranks\": 0,"
    " \"symm_bytes\": 0, \"sites\": [], \"entries\": [" COPY_MANIFEST(
        "f64") COPY_MANIFEST("f32") COPY_MANIFEST("f16") COPY_MANIFEST("bf16")
        COPY_MANIFEST("f8E4M3FN") COPY_MANIFEST("f8E5M2") COPY_MANIFEST(
            "i64") COPY_MANIFEST("i32") COPY_MANIFEST("i16") COPY_MANIFEST("i8")
            COPY_MANIFEST(
                "i1") "{\"name\": \"scalar\", \"symbol\": \"moe_entry_scalar\","
                      " \"args\": [" SCALAR "], \"results\": [" SCALAR "]},"
                      "{\"name\": \"many\", \"symbol\": \"moe_entry_many\","
                      " \"args\": [" MATRIX "], \"results\": [" MATRIX
                      ", " MATRIX "]},"
                      "{\"name\": \"column\", \"symbol\": \"moe_entry_column\","
                      " \"args\": [" MATRIX "], \"results\": [" COLUMN "]},"
                      "{\"name\": \"expf\", \"symbol\": \"moe_entry_expf\","
                      " \"args\": [" MATRIX "], \"results\": [" MATRIX "]},"
                      "{\"name\": \"fail\", \"symbol\": \"moe_entry_fail\","
                      " \"args\": [], \"results\": []}]}";

static void copyTo(void *to, void **args, int64_t elementBytes) {
  struct Memref2D *in = args[0], *out = args[1];
  int64_t bytes = in->sizes[0] * in->sizes[1] * elementBytes;
  *out = *in;
  out->offset = 0;
  out->allocated = out->aligned = to;
  memcpy(out->aligned, in->aligned + in->offset * elementBytes, bytes);
}

static int64_t bytesOf(void **args, int64_t elementBytes) {
  struct Memref2D *in = args[0];
  return in->sizes[0] * in->sizes[1] * elementBytes;
}

static void copy(void **args, int64_t elementBytes) {
  copyTo(moert_alloc_result(0, bytesOf(args, elementBytes), 64), args,
         elementBytes);
}

static void copyToScratch(void **args, int64_t elementBytes) {
  copyTo(moert_alloc(bytesOf(args, elementBytes), 64), args, elementBytes);
}

#define COPY(type, bytes)                                                      \
  void moe_entry_copy_##type(void **args) { copy(args, bytes); }
COPY(f64, 8)
COPY(f32, 4)
COPY(f16, 2)
COPY(bf16, 2)
COPY(f8E4M3FN, 1)
COPY(f8E5M2, 1)
COPY(i64, 8)
COPY(i32, 4)
COPY(i16, 2)
COPY(i8, 1)
COPY(i1, 1)

void moe_entry_scalar(void **args) {
  struct Memref0D *in = args[0], *out = args[1];
  out->allocated = out->aligned = moert_alloc(8, 8);
  out->offset = 0;
  *out->aligned = in->aligned[in->offset] * 2;
}

void moe_entry_many(void **args) {
  copy(args, 4);
  *(struct Memref2D *)args[2] = *(struct Memref2D *)args[1];
}

/* The last column, as a view of a copy. */
void moe_entry_column(void **args) {
  copyToScratch(args, 4);
  struct Memref2D *out = args[1];
  out->offset = out->sizes[1] - 1;
  out->sizes[1] = 1;
}

void moe_entry_expf(void **args) {
  copyToScratch(args, 4);
  struct Memref2D *out = args[1];
  float *x = (float *)out->aligned;
  for (int64_t i = 0; i < out->sizes[0] * out->sizes[1]; ++i)
    x[i] = expf(x[i]);
}

void moe_entry_fail(void **args) {
  (void)args;
  moert_alloc(1 << 22, 64);
  moert_fail(MOERT_INVALID_COUNT, "rows", 3, 3, 4, -1, -1, -1);
}
