/*===- tables.c - an artifact for GPUs with tensors of the host -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A table is a tensor of numbers of rows in host memory. "gather" copies those
// elements of a vector on the GPU, and returns them in host memory as well;
// "pick" returns the first alone, and waits for nothing. "same" returns the
// table itself, a part of it and a constant. "astray" returns memory of the
// GPU as a table.
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

struct Memref1D {
  void *allocated, *aligned;
  int64_t offset, sizes[1], strides[1];
};

#define VECTOR "{\"dtype\": \"f32\", \"shape\": [-1]}"
#define PICKED "{\"dtype\": \"f32\", \"shape\": [-1], \"extents\": [[1, 0]]}"
#define TABLE "{\"dtype\": \"i32\", \"shape\": [-1], \"host\": true}"
#define FOUND                                                                  \
  "{\"dtype\": \"f32\", \"shape\": [-1], \"host\": true, \"extents\": "        \
  "[[1, 0]]}"
#define ENTRY(name, args, results)                                             \
  "{\"name\": \"" name "\", \"symbol\": \"moe_entry_" name                     \
  "\", \"args\": [" args "], \"results\": [" results "]}"

const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": \"cuda\","
    " \"cpu\": \"x86-64\", \"hash\": \"tables\", \"ranks\": 0,"
    " \"symm_bytes\": 0, \"sites\": [], \"entries\": [" ENTRY(
        "gather", VECTOR ", " TABLE,
        PICKED
        ", " FOUND) ", " ENTRY("pick", VECTOR ", " TABLE,
                               PICKED) ", " ENTRY("same", TABLE,
                                                  TABLE
                                                  ", " TABLE
                                                  ", " TABLE) ", " ENTRY("astra"
                                                                         "y",
                                                                         "",
                                                                         TABLE) "]}";

static void setResult(struct Memref1D *out, void *data, int64_t count) {
  out->allocated = out->aligned = data;
  out->offset = 0;
  out->sizes[0] = count;
  out->strides[0] = 1;
}

/* Copies to result 0, and to `found`, which may be null. */
static void pick(void **args, float *found) {
  struct Memref1D *x = args[0], *table = args[1];
  const float *from = (const float *)x->aligned + x->offset;
  const int32_t *rows = (const int32_t *)table->aligned + table->offset;
  int64_t count = table->sizes[0];
  float *out = moert_alloc_result(0, count * (int64_t)sizeof(float), 64);
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] < 0 || rows[i] >= x->sizes[0])
      moert_fail(MOERT_INVALID_COUNT, "row", 0, x->sizes[0] - 1, rows[i], -1, i,
                 -1);
    moert_copy(out + i, from + rows[i], sizeof(float));
    if (found)
      moert_read(found + i, from + rows[i], sizeof(float));
  }
  setResult(args[2], out, count);
}

void moe_entry_gather(void **args) {
  int64_t count = ((struct Memref1D *)args[1])->sizes[0];
  float *found = moert_alloc_result(1, count * (int64_t)sizeof(float), 4);
  /* What is for other results, and is given back, comes from there, too. */
  float *spare = moert_alloc_result(1, 64, 64);
  spare[0] = 1;
  moert_free(spare);
  pick(args, found);
  setResult(args[3], found, count);
}

void moe_entry_pick(void **args) { pick(args, 0); }

void moe_entry_same(void **args) {
  static int32_t constant[3] = {7, 8, 9};
  struct Memref1D *table = args[0], *part = args[2];
  *(struct Memref1D *)args[1] = *table;
  /* Every other element. */
  *part = *table;
  part->sizes[0] = (table->sizes[0] + 1) / 2;
  part->strides[0] = 2;
  setResult(args[3], constant, 3);
}

void moe_entry_astray(void **args) {
  setResult(args[0], moert_alloc(64, 64), 16);
}
