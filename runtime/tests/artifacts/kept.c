/*===- kept.c - an artifact that keeps what it is given -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Both entries clear the place of their symmetric result in the workspace and
// then copy their argument to the result, so that an argument in that place is
// lost. That of "keep" is ordinary, that of "keep_symmetric" symmetric.
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

#include <string.h>

#define STRINGIFY(x) #x
#define STR(x) STRINGIFY(x)

#ifndef RANKS
#define RANKS 1
#endif

enum { maxCount = 64 };

struct Memref1D {
  float *allocated, *aligned;
  int64_t offset, sizes[1], strides[1];
};

#ifdef CUDA
#define TARGET "\"cuda\", \"gpu\": {\"chip\": \"sm_80\", \"format\": \"ptx\"}"
static void copy(void *to, const void *from, int64_t bytes) {
  moert_copy(to, from, bytes);
}
#else
#define TARGET "\"host\""
static void copy(void *to, const void *from, int64_t bytes) {
  memcpy(to, from, bytes);
}
#endif

#define SYMMETRIC "{\"dtype\": \"f32\", \"shape\": [-1], \"symmetric\": true}"
#define ORDINARY "{\"dtype\": \"f32\", \"shape\": [-1]}"

const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": " TARGET ","
    " \"cpu\": \"x86-64\", \"hash\": \"kept\", \"ranks\": " STR(
        RANKS) ","
               " \"symm_bytes\": 4096, \"sites\": [], \"entries\": ["
               "{\"name\": \"keep\", \"symbol\": \"moe_entry_keep\","
               " \"args\": [" ORDINARY "], \"results\": [" SYMMETRIC "]},"
               "{\"name\": \"keep_symmetric\", \"symbol\": "
               "\"moe_entry_keep_symmetric\","
               " \"args\": [" SYMMETRIC "], \"results\": [" SYMMETRIC "]}]}";

static const float zeros[maxCount];

static void keep(struct Memref1D *in, struct Memref1D *out, int64_t offset) {
  int64_t count = in->sizes[0];
  if (count > maxCount)
    moert_fail(MOERT_CAPACITY_EXCEEDED, "elements", INT64_MIN, maxCount, count,
               -1, -1, -1);
  int64_t bytes = count * (int64_t)sizeof(float);
  float *result = moert_symm_result(0, offset, bytes);
  copy((char *)moert_symm_base() + offset, zeros, sizeof(zeros));
  copy(result, in->aligned + in->offset, bytes);
  out->allocated = out->aligned = result;
  out->offset = 0;
  out->sizes[0] = count;
  out->strides[0] = 1;
}

void moe_entry_keep(void **args) { keep(args[0], args[1], 0); }
void moe_entry_keep_symmetric(void **args) {
  keep(args[0], args[1], maxCount * sizeof(float));
}
