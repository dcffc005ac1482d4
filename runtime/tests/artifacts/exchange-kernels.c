/*===- exchange-kernels.c - the kernels of exchange.c ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled by clang for NVPTX, without a CUDA toolkit:
//
//   clang --target=nvptx64-nvidia-cuda -march=sm_80 --cuda-feature=+ptx80
//         -ffreestanding -O2 -S -I../../include exchange-kernels.c
//
// exchange-kernels.ptx is the outcome, for builds that have no clang. Each
// kernel runs as one block.
//
//===----------------------------------------------------------------------===*/

#include "exchange.h"

#define KERNEL __attribute__((nvptx_kernel)) void
#define SYSTEM __MEMORY_SCOPE_SYSTEM

enum { phasePut = 0, phaseComplete = 1, textSignal = 2, phaseRotate = 3 };

static int threadId(void) { return __nvvm_read_ptx_sreg_tid_x(); }
static int numThreads(void) { return __nvvm_read_ptx_sreg_ntid_x(); }

static int64_t now(void) {
  int64_t ns;
  __asm__ volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
  return ns;
}

static int hasFailed(const struct Exchange *x) {
  return __scoped_atomic_load_n(&x->record->code, __ATOMIC_RELAXED, SYSTEM) !=
         0;
}

/* Waits in one thread; the others wait for it at the barrier. Whether all is
   well. */
static int await(const struct Exchange *x, uint64_t *flag, uint64_t value,
                 int64_t peer, int phase) {
  if (threadId() == 0) {
    int64_t start = now();
    uint64_t seen;
    while ((seen = __scoped_atomic_load_n(flag, __ATOMIC_ACQUIRE, SYSTEM)) <
           value) {
      if (hasFailed(x))
        break;
      if (now() - start < x->timeoutNs)
        continue;
      moert_device_record *record = x->record;
      int32_t none = 0;
      if (__scoped_atomic_compare_exchange_n(
              &record->code, &none, (int32_t)MOERT_TIMEOUT, 0, __ATOMIC_RELAXED,
              __ATOMIC_RELAXED, SYSTEM)) {
        record->site = (int32_t)x->site;
        record->phase = phase;
        record->what = textSignal;
        record->peer = (int32_t)peer;
        record->most = (int64_t)value;
        record->seen = (int64_t)seen;
        __scoped_atomic_store_n(&record->ready, 1, __ATOMIC_RELEASE, SYSTEM);
      }
      break;
    }
  }
  return !__nvvm_bar0_or(threadId() == 0 && hasFailed(x));
}

/* All threads' stores before it are seen by who sees the signal. */
static void signal64(uint64_t *flag, uint64_t value) {
  __nvvm_bar_sync(0);
  if (threadId() != 0)
    return;
  __nvvm_membar_sys();
  __scoped_atomic_store_n(flag, value, __ATOMIC_RELEASE, SYSTEM);
}

static void putRows(const struct Exchange *x, float *to) {
  for (int64_t i = threadId(); i < x->rows * cols; i += numThreads())
    to[i] = x->in[i / cols * x->rowStride + i % cols * x->colStride];
}

static uint64_t *workspaceOf(const struct Exchange *x, int64_t rank) {
  return peerOf(x->workspace, rank - x->me, x->stride);
}

KERNEL exchange_put(struct Exchange x) {
  uint64_t *mine = x.workspace;
  uint64_t epoch = *epochOf(mine) + 1;
  for (int64_t i = 0; i < x.ranks; ++i) {
    int64_t peer = (x.me + i) % x.ranks;
    uint64_t *theirs = workspaceOf(&x, peer);
    if (!await(&x, takenOf(mine, x.ranks) + peer, epoch - 1, peer, phasePut))
      return;
    putRows(&x, slotOf(theirs, x.ranks, x.me));
    if (threadId() == 0)
      rowsOf(theirs, x.ranks)[x.me] = x.rows;
    signal64(arrivedOf(theirs) + x.me, epoch);
  }
}

KERNEL exchange_complete(struct Exchange x) {
  uint64_t *mine = x.workspace;
  uint64_t epoch = *epochOf(mine) + 1;
  for (int64_t p = 0; p < x.ranks; ++p)
    if (!await(&x, arrivedOf(mine) + p, epoch, p, phaseComplete))
      return;
}

KERNEL exchange_take(struct Exchange x) {
  uint64_t *mine = x.workspace;
  uint64_t epoch = *epochOf(mine) + 1;
  float *out = x.out;
  for (int64_t p = 0; p < x.ranks; ++p) {
    int64_t count = rowsOf(mine, x.ranks)[p] * cols;
    for (int64_t i = threadId(); i < count; i += numThreads())
      out[i] = slotOf(mine, x.ranks, p)[i];
    out += count;
    signal64(takenOf(workspaceOf(&x, p), x.ranks) + x.me, epoch);
  }
  if (threadId() == 0)
    *epochOf(mine) = epoch;
}

KERNEL exchange_rotate(struct Exchange x) {
  uint64_t *mine = x.workspace;
  int64_t next = (x.me + 1) % x.ranks;
  int64_t previous = (x.me + x.ranks - 1) % x.ranks;
  uint64_t *theirs = workspaceOf(&x, next);
  uint64_t epoch = mine[rotateEpoch] + 1;
  if (!await(&x, mine + rotateTaken, epoch - 1, next, phaseRotate))
    return;
  putRows(&x, slotOf(theirs, x.ranks, x.ranks));
  signal64(theirs + rotateArrived, epoch);
  if (!await(&x, mine + rotateArrived, epoch, previous, phaseRotate))
    return;
  const float *slot = slotOf(mine, x.ranks, x.ranks);
  for (int64_t i = threadId(); i < x.rows * cols; i += numThreads())
    x.out[i] = slot[i];
  signal64(workspaceOf(&x, previous) + rotateTaken, epoch);
  if (threadId() == 0)
    mine[rotateEpoch] = epoch;
}
