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
// kernel runs as one block. Compiled for the CPU, it is an image for the driver
// in tests/driver, and the block has one thread.
//
//===----------------------------------------------------------------------===*/

#include "exchange.h"

#ifdef __NVPTX__

#define KERNEL(name, x)                                                        \
  __attribute__((nvptx_kernel)) void name(struct Exchange x)
#define ATOMIC(op, ...) __scoped_atomic_##op(__VA_ARGS__, __MEMORY_SCOPE_SYSTEM)

static int threadId(void) { return __nvvm_read_ptx_sreg_tid_x(); }
static int numThreads(void) { return __nvvm_read_ptx_sreg_ntid_x(); }
static int anyThread(int value) { return __nvvm_bar0_or(value); }
static void fence(void) {
  __nvvm_bar_sync(0);
  if (threadId() == 0)
    __nvvm_membar_sys();
}

static int64_t now(void) {
  int64_t ns;
  __asm__ volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
  return ns;
}

#else

#include "../driver/CpuKernel.h"
#include <sched.h>
#include <time.h>

#define KERNEL(name, x)                                                        \
  static void name(struct Exchange x);                                         \
  static void name##_run(void **params, const struct moe_cpu_grid *grid) {     \
    (void)grid;                                                                \
    name(*(struct Exchange *)params[0]);                                       \
  }                                                                            \
  const struct moe_cpu_kernel name##_on_cpu = {name##_run, 1, paramBytes};     \
  static void name(struct Exchange x)
#define ATOMIC(op, ...) __atomic_##op(__VA_ARGS__)

static const int64_t paramBytes[] = {sizeof(struct Exchange)};

static int threadId(void) { return 0; }
static int numThreads(void) { return 1; }
static int anyThread(int value) { return value; }
static void fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* Asked again and again by who waits: others may need the CPU. */
static int64_t now(void) {
  struct timespec time;
  sched_yield();
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

#endif

enum { phasePut = 0, phaseComplete = 1, textSignal = 2, phaseRotate = 3 };

static int hasFailed(const struct Exchange *x) {
  return ATOMIC(load_n, &x->record->code, __ATOMIC_RELAXED) != 0;
}

/* Waits in one thread; the others wait for it at the barrier. Whether all is
   well. */
static int await(const struct Exchange *x, uint64_t *flag, uint64_t value,
                 int64_t peer, int phase) {
  if (threadId() == 0) {
    int64_t start = now();
    uint64_t seen;
    while ((seen = ATOMIC(load_n, flag, __ATOMIC_ACQUIRE)) < value) {
      if (hasFailed(x))
        break;
      if (now() - start < x->timeoutNs)
        continue;
      moert_device_record *record = x->record;
      int32_t none = 0;
      if (ATOMIC(compare_exchange_n, &record->code, &none,
                 (int32_t)MOERT_TIMEOUT, 0, __ATOMIC_RELAXED,
                 __ATOMIC_RELAXED)) {
        record->site = (int32_t)x->site;
        record->phase = phase;
        record->what = textSignal;
        record->peer = (int32_t)peer;
        record->expected = (int64_t)value;
        record->seen = (int64_t)seen;
        ATOMIC(store_n, &record->ready, 1, __ATOMIC_RELEASE);
      }
      break;
    }
  }
  return !anyThread(threadId() == 0 && hasFailed(x));
}

/* All threads' stores before it are seen by who sees the signal. */
static void signal64(uint64_t *flag, uint64_t value) {
  fence();
  if (threadId() == 0)
    ATOMIC(store_n, flag, value, __ATOMIC_RELEASE);
}

static void putRows(const struct Exchange *x, float *to) {
  for (int64_t i = threadId(); i < x->rows * cols; i += numThreads())
    to[i] = x->in[i / cols * x->rowStride + i % cols * x->colStride];
}

static uint64_t *workspaceOf(const struct Exchange *x, int64_t rank) {
  return peerOf(x->workspace, rank - x->me, x->stride);
}

KERNEL(exchange_put, x) {
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

KERNEL(exchange_complete, x) {
  uint64_t *mine = x.workspace;
  uint64_t epoch = *epochOf(mine) + 1;
  for (int64_t p = 0; p < x.ranks; ++p)
    if (!await(&x, arrivedOf(mine) + p, epoch, p, phaseComplete))
      return;
}

KERNEL(exchange_take, x) {
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

KERNEL(exchange_rotate, x) {
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
