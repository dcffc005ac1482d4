//===- Device.h - what the hand-written kernels share -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_BENCHMARKS_DEVICE_H
#define MOE_BENCHMARKS_DEVICE_H

#include "Baselines.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#define MOEB_DEVICE static __device__ __forceinline__

namespace moeb {

constexpr int maxRanks = MOEB_MAX_RANKS;
constexpr unsigned allLanes = ~0u;

using Group = moeb_group;
using Exchange = moeb_exchange;

/// Flags in a slice: `maxRanks` words per phase, one per sender. Their order
/// is that of PHASES in benchmarks/gpu/handwritten.py.
enum Phase {
  Start,
  Counts,
  DispatchDone,
  CombineReady,
  CombineDone,
  Grid,
  Bulk,
  Capacity
};
/// Rows that each sender sends to each rank, after the flags.
constexpr int countWords = 64;

/// Words of moeb_group.state.
enum State {
  DispatchArrived,
  DispatchEpoch,
  CombineArrived,
  CombineEpoch,
  StartEpoch,
  SlabEpoch,
  BlockCounts = 64
};

//===----------------------------------------------------------------------===//
// Loads, stores, flags
//===----------------------------------------------------------------------===//

MOEB_DEVICE void storeRelease(uint32_t *flag, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value)
               : "memory");
}

/// After a fence.
MOEB_DEVICE void storeRelaxed(uint32_t *flag, uint32_t value) {
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value)
               : "memory");
}

MOEB_DEVICE uint32_t loadAcquire(const uint32_t *flag) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];"
               : "=r"(value)
               : "l"(flag)
               : "memory");
  return value;
}

MOEB_DEVICE void storeRow(int4 *to, int4 v) {
  asm volatile(
      "st.global.L1::no_allocate.v4.s32 [%0], {%1, %2, %3, %4};" ::"l"(to),
      "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
      : "memory");
}

/// Of memory that no kernel writes at the same time.
MOEB_DEVICE int4 loadRow(const int4 *from) {
  int4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.s32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/// Of memory that a peer wrote before a flag that was seen.
MOEB_DEVICE int4 loadPeer(const int4 *from) {
  int4 v;
  asm volatile(
      "ld.relaxed.sys.global.L1::no_allocate.v4.s32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(from)
      : "memory");
  return v;
}

MOEB_DEVICE uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

MOEB_DEVICE bool failed(const Group &group) {
  return *(volatile int64_t *)group.error != 0;
}

MOEB_DEVICE void recordError(const Group &group, Phase phase, int peer,
                             int64_t expected, int64_t seen) {
  if (atomicCAS((unsigned long long *)group.error, 0ull,
                (unsigned long long)phase + 1) != 0)
    return;
  group.error[1] = peer;
  group.error[2] = expected;
  group.error[3] = seen;
}

/// Polls until `done()` holds; false when the group's time is up or another
/// wait has failed.
template <typename Done, typename Seen>
MOEB_DEVICE bool waitUntil(const Group &group, Phase phase, int peer,
                           int64_t expected, Done done, Seen seen) {
  uint64_t start = 0;
  for (uint32_t polls = 1; !done(); ++polls) {
    if (polls % 1024)
      continue;
    if (failed(group))
      return false;
    uint64_t now = nanoseconds();
    if (!start)
      start = now;
    if (now - start > group.timeout_ns) {
      recordError(group, phase, peer, expected, seen());
      return false;
    }
  }
  return true;
}

/// Of `phase` in the slice of `rank`, written by `sender`.
MOEB_DEVICE uint32_t *flagOf(const Group &group, int rank, Phase phase,
                             int sender) {
  return (uint32_t *)group.slices[rank] + phase * maxRanks + sender;
}

MOEB_DEVICE int32_t *countsOf(const Group &group, int rank, int sender) {
  return (int32_t *)group.slices[rank] + countWords + sender * maxRanks;
}

MOEB_DEVICE void signal(const Group &group, int rank, Phase phase,
                        uint32_t epoch) {
  storeRelease(flagOf(group, rank, phase, group.rank), epoch);
}

MOEB_DEVICE bool waitFor(const Group &group, int sender, Phase phase,
                         uint32_t epoch) {
  const uint32_t *flag = flagOf(group, group.rank, phase, sender);
  return waitUntil(
      group, phase, sender, epoch,
      [=] { return (int32_t)(loadAcquire(flag) - epoch) >= 0; },
      [=] { return (int64_t)loadAcquire(flag); });
}

//===----------------------------------------------------------------------===//
// The grid
//===----------------------------------------------------------------------===//

/// All blocks meet; all of them run at the same time. The counter starts at 0.
MOEB_DEVICE bool gridBarrier(const Group &group, uint32_t *arrived) {
  bool ok = true;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1);
    ok = waitUntil(
        group, Grid, group.rank, gridDim.x,
        [=] { return loadAcquire(arrived) >= gridDim.x; },
        [=] { return (int64_t)loadAcquire(arrived); });
  }
  return __syncthreads_and(ok);
}

/// The last block tells all ranks, after everything that all blocks wrote, and
/// waits for all of them. `expected` counts all arrivals of the launch; the
/// counter goes back to 0.
MOEB_DEVICE void finish(const Group &group, Phase phase, uint32_t *arrived,
                        uint32_t expected, uint32_t *epochWord,
                        uint32_t epoch) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence_system();
    last = atomicAdd(arrived, 1) == expected - 1;
    if (last) {
      __threadfence_system();
      for (int i = 0; i < group.ranks; ++i)
        storeRelaxed(flagOf(group, (i + 1 + group.rank) % group.ranks, phase,
                            group.rank),
                     epoch);
      *(volatile uint32_t *)arrived = 0;
      *(volatile uint32_t *)epochWord = epoch;
    }
  }
  __syncthreads();
  if (last && threadIdx.x < group.ranks)
    waitFor(group, threadIdx.x, phase, epoch);
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

MOEB_DEVICE uint32_t sharedAddress(const void *p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}

MOEB_DEVICE void initBarrier(uint64_t *barrier) {
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(sharedAddress(barrier)));
  asm volatile("fence.mbarrier_init.release.cluster;");
}

MOEB_DEVICE void expectBytes(uint64_t *barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   sharedAddress(barrier)),
               "r"(bytes)
               : "memory");
}

MOEB_DEVICE void bulkLoad(void *to, const void *from, uint32_t bytes,
                          uint64_t *barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::"
               "bytes [%0], [%1], %2, [%3];" ::"r"(sharedAddress(to)),
               "l"(from), "r"(bytes), "r"(sharedAddress(barrier))
               : "memory");
}

MOEB_DEVICE void bulkStore(void *to, const void *from, uint32_t bytes) {
  asm volatile(
      "cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to),
      "r"(sharedAddress(from)), "r"(bytes)
      : "memory");
}

MOEB_DEVICE void commitBulk() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/// All stores but those of the newest group have read shared memory.
MOEB_DEVICE void waitBulkReadButOne() {
  asm volatile("cp.async.bulk.wait_group.read 1;" ::: "memory");
}
/// All stores are complete.
MOEB_DEVICE void waitBulkStores() {
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
MOEB_DEVICE void fenceProxies() {
  asm volatile("fence.proxy.async;" ::: "memory");
}

MOEB_DEVICE bool waitBulkLoad(const Group &group, uint64_t *barrier,
                              uint32_t parity) {
  uint32_t address = sharedAddress(barrier);
  return waitUntil(
      group, Bulk, group.rank, parity,
      [=] {
        uint32_t done;
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 "
                     "p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(address), "r"(parity)
                     : "memory");
        return done != 0;
      },
      [] { return int64_t(-1); });
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Bit r is set when an expert of the token lives on rank r.
MOEB_DEVICE uint32_t destinations(const Group &group, const Exchange &ex,
                                  int token) {
  uint32_t mask = 0;
  auto add = [&](int expert) {
    uint32_t rank = (uint32_t)expert / (uint32_t)ex.expertsPerRank;
    if (rank < group.ranks)
      mask |= 1u << rank;
  };
  const int32_t *experts = ex.experts + (size_t)token * ex.topK;
  if (ex.topK % 4 == 0) {
    for (int k = 0; k < ex.topK; k += 4) {
      int4 four = __ldg((const int4 *)(experts + k));
      add(four.x), add(four.y), add(four.z), add(four.w);
    }
  } else {
    for (int k = 0; k < ex.topK; ++k)
      add(__ldg(experts + k));
  }
  return mask;
}

/// Tells `rank` which token its row holds, for which of its experts.
MOEB_DEVICE void sendExpert(const Group &group, const Exchange &ex, int token,
                            int rank, size_t row, int k) {
  char *slice = (char *)group.slices[rank];
  if (k == 0)
    ((int32_t *)(slice + ex.recvSource))[row] = group.rank * ex.tokens + token;
  if (!ex.recvExperts)
    return;
  int expert = __ldg(ex.experts + (size_t)token * ex.topK + k);
  bool there = (uint32_t)expert / (uint32_t)ex.expertsPerRank == rank;
  ((int32_t *)(slice + ex.recvExperts))[row * ex.topK + k] =
      there ? expert : -1;
  ((float *)(slice + ex.recvWeights))[row * ex.topK + k] =
      there ? __ldg(ex.weights + (size_t)token * ex.topK + k) : 0.0f;
}

MOEB_DEVICE void addRow(float *sum, int4 v) {
  const __nv_bfloat162 *pairs = (const __nv_bfloat162 *)&v;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float2 pair = __bfloat1622float2(pairs[i]);
    sum[2 * i] += pair.x;
    sum[2 * i + 1] += pair.y;
  }
}

MOEB_DEVICE int4 roundRow(const float *sum) {
  int4 v;
  __nv_bfloat162 *pairs = (__nv_bfloat162 *)&v;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    pairs[i] = __floats2bfloat162_rn(sum[2 * i], sum[2 * i + 1]);
  return v;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

/// Of shared memory that a kernel with bulk copies uses.
constexpr size_t sharedBudget = 220 * 1024;
constexpr int maxStages = 8;

inline bool valid(const moeb_group *group, const moeb_exchange *ex) {
  return group->ranks >= 1 && group->ranks <= maxRanks && ex->topK >= 1 &&
         ex->topK <= 32 && ex->rowBytes > 0 && ex->rowBytes % 16 == 0;
}

/// Launches at most `blocks` blocks, and no more than run at the same time.
template <typename... Params, typename... Args>
int launch(void (*kernel)(Params...), int blocks, int threads,
           size_t sharedBytes, void *stream, Args... args) {
  int device, processors, perProcessor;
  cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)sharedBytes);
  if (error == cudaSuccess)
    error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount,
                                   device);
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&perProcessor, kernel,
                                                          threads, sharedBytes);
  if (error != cudaSuccess)
    return error;
  if (blocks > processors * perProcessor)
    blocks = processors * perProcessor;
  if (blocks < 1 || blocks > MOEB_MAX_BLOCKS)
    return cudaErrorInvalidConfiguration;
  kernel<<<blocks, threads, sharedBytes, (cudaStream_t)stream>>>(args...);
  return cudaGetLastError();
}

} // namespace moeb

#endif // MOE_BENCHMARKS_DEVICE_H
