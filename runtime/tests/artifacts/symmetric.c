/*===- symmetric.c - an artifact with symmetric tensors -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "from_next" takes an argument in symmetric memory and returns, in memory of
the
// caller's or its own workspace, what the next rank has there. The ranks meet
by
// flags. "also" does the same, with a result in another place.
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

#include <string.h>

#ifndef RANKS
#define RANKS 2
#endif
#define STRINGIFY(x) #x
#define STR(x) STRINGIFY(x)

enum { maxCount = 64 };

struct Memref1D {
  float *allocated, *aligned;
  int64_t offset, sizes[1], strides[1];
};

struct Workspace {
  float results[2][maxCount];
  uint64_t epoch;
  uint64_t isThere[RANKS]; /* rank p has begun the epoch */
};

#define TENSOR "{\"dtype\": \"f32\", \"shape\": [-1], \"symmetric\": true}"

const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": \"host\","
    " \"cpu\": \"x86-64\", \"hash\": \"symmetric\", \"ranks\": " STR(
        RANKS) ", \"symm_bytes\": 4096, \"entries\": ["
               "{\"name\": \"from_next\", \"symbol\": "
               "\"moe_entry_from_next\","
               " \"args\": [" TENSOR "], \"results\": [" TENSOR "]},"
               "{\"name\": \"also\", \"symbol\": \"moe_entry_also\","
               " \"args\": [" TENSOR "], \"results\": [" TENSOR "]}],"
               " \"sites\": [{\"op\": \"test.from_next\", \"location\": "
               "\"symmetric.c:1:1\"}]}";

static void fromNext(struct Memref1D *in, struct Memref1D *out, int which) {
  int64_t me = moert_rank(), next = (me + 1) % RANKS;
  int64_t stride = moert_symm_stride();
  char *base = moert_symm_base();
  struct Workspace *mine = (struct Workspace *)base;
  moert_collective_begin("test.from_next", "symmetric.c:1:1", 0);
  moert_phase("read");
  if (in->sizes[0] > maxCount)
    moert_fail(MOERT_CAPACITY_EXCEEDED, "elements", INT64_MIN, maxCount,
               in->sizes[0], -1, -1, -1);
  uint64_t epoch = ++mine->epoch;
  for (int64_t p = 0; p < RANKS; ++p) {
    struct Workspace *theirs = (struct Workspace *)(base + (p - me) * stride);
    __atomic_store_n(&theirs->isThere[me], epoch, __ATOMIC_RELEASE);
  }
  moert_wait(&mine->isThere[next], epoch, next);
  const char *x = (const char *)(in->aligned + in->offset);
  int64_t bytes = in->sizes[0] * (int64_t)sizeof(float);
  float *result =
      moert_symm_result(0, (char *)mine->results[which] - base, bytes);
  memcpy(result, x + (next - me) * stride, bytes);
  moert_collective_end();
  out->allocated = out->aligned = result;
  out->offset = 0;
  out->sizes[0] = in->sizes[0];
  out->strides[0] = 1;
}

void moe_entry_from_next(void **args) { fromNext(args[0], args[1], 0); }
void moe_entry_also(void **args) { fromNext(args[0], args[1], 1); }
