/*===- exchange.h - what exchange.c and its kernels share -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

#ifndef MOE_RUNTIME_TESTS_EXCHANGE_H
#define MOE_RUNTIME_TESTS_EXCHANGE_H

#include "moe-runtime/ArtifactABI.h"

enum { cols = 4, maxRows = 256 };

/* A rank's workspace: words, in this order
     rotate's epoch and flags, a word of padding, gather's epoch
     arrived[ranks]   rank p has put its rows here
     taken[ranks]     rank p has read what I put there
     rows[ranks]
   and then a slot of rows for each rank, and one for rotate. A flag holds the
   epoch of what it announces. */
enum { rotateEpoch = 0, rotateArrived = 1, rotateTaken = 2 };

static inline uint64_t *epochOf(uint64_t *space) { return space + 4; }
static inline uint64_t *arrivedOf(uint64_t *space) { return space + 5; }
static inline uint64_t *takenOf(uint64_t *space, int64_t ranks) {
  return space + 5 + ranks;
}
static inline int64_t *rowsOf(uint64_t *space, int64_t ranks) {
  return (int64_t *)(space + 5 + 2 * ranks);
}
static inline float *slotOf(uint64_t *space, int64_t ranks, int64_t slot) {
  return (float *)(space + 5 + 3 * ranks) + slot * maxRows * cols;
}
/* The same place in the workspace `distance` ranks further. */
static inline uint64_t *peerOf(uint64_t *space, int64_t distance,
                               int64_t stride) {
  return (uint64_t *)((char *)space + distance * stride);
}

/* What the kernels get. */
struct Exchange {
  uint64_t *workspace;
  int64_t stride;
  int64_t me;
  int64_t ranks;
  const float *in;
  int64_t rows, rowStride, colStride;
  float *out;
  int64_t site;
  int64_t timeoutNs;
  moert_device_record *record;
};

#endif /* MOE_RUNTIME_TESTS_EXCHANGE_H */
