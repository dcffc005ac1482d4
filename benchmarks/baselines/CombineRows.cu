//===- CombineRows.cu - combine of many tokens ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Pulls the rows that a dispatch without gaps spread, and adds them in f32.
//
//===----------------------------------------------------------------------===//

#include "Device.h"

using namespace moeb;

namespace {

constexpr int combineThreads = 512;
constexpr int maxGroups = 4;

/// All ranks have entered the combine, so their rows may be read.
__device__ bool beginCombine(const Group &group, uint32_t epoch) {
  bool ok = true;
  if (threadIdx.x < group.ranks) {
    int peer = (threadIdx.x + group.rank) % group.ranks;
    if (blockIdx.x == 0)
      signal(group, peer, CombineReady, epoch);
    ok = waitFor(group, peer, CombineReady, epoch);
  }
  return __syncthreads_and(ok);
}

/// A warp per token, loads straight from the ranks.
template <int ranks, int unroll>
__global__ void __launch_bounds__(combineThreads, 1)
    combineLoads(const __grid_constant__ Group group,
                 const __grid_constant__ Exchange ex) {
  uint32_t epoch = ((volatile uint32_t *)group.state)[CombineEpoch] + 1;
  bool ok = beginCombine(group, epoch);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32,
      columns = ex.rowBytes / 16;
  int warps = combineThreads / 32;
  for (int token = blockIdx.x * warps + warp; ok && token < ex.tokens;
       token += gridDim.x * warps) {
    int row = lane < ranks ? ex.sendRow[(size_t)token * ranks + lane] : -1;
    const int4 *from[ranks];
#pragma unroll
    for (int p = 0; p < ranks; ++p) {
      int there = __shfl_sync(allLanes, row, p);
      from[p] = there >= 0 ? (const int4 *)((char *)group.slices[p] + ex.y) +
                                 (size_t)there * columns
                           : nullptr;
    }
    int4 *out = (int4 *)ex.out + (size_t)token * columns;
    for (int i = lane; i < columns; i += 32 * unroll) {
      int4 v[ranks][unroll];
#pragma unroll
      for (int p = 0; p < ranks; ++p)
        if (from[p]) {
#pragma unroll
          for (int u = 0; u < unroll; ++u)
            if (i + 32 * u < columns)
              v[p][u] = loadPeer(from[p] + i + 32 * u);
        }
#pragma unroll
      for (int u = 0; u < unroll; ++u)
        if (i + 32 * u < columns) {
          float sum[8] = {};
#pragma unroll
          for (int p = 0; p < ranks; ++p)
            if (from[p])
              addRow(sum, v[p][u]);
          out[i + 32 * u] = roundRow(sum);
        }
    }
  }
  finish(group, CombineDone, group.state + CombineArrived, gridDim.x,
         group.state + CombineEpoch, epoch);
}

/// Groups of warps take a token each; its rows come by bulk copy, some tokens
/// ahead.
template <int ranks>
__global__ void __launch_bounds__(combineThreads, 1)
    combineBulk(const __grid_constant__ Group group,
                const __grid_constant__ Exchange ex, int groups, int stages) {
  extern __shared__ __align__(128) char rings[];
  __shared__ __align__(8) uint64_t barriers[maxGroups * maxStages];
  /// The ranks that have a row of the stage's token.
  __shared__ uint32_t masks[maxGroups * maxStages];
  if (threadIdx.x < maxGroups * maxStages)
    initBarrier(&barriers[threadIdx.x]);
  uint32_t epoch = ((volatile uint32_t *)group.state)[CombineEpoch] + 1;
  bool ok = beginCombine(group, epoch);
  fenceProxies();
  int threads = combineThreads / groups;
  int team = threadIdx.x / threads, member = threadIdx.x % threads,
      lane = threadIdx.x % 32;
  int rowBytes = ex.rowBytes, columns = rowBytes / 16;
  char *ring = rings + (size_t)team * stages * ranks * rowBytes;
  uint64_t *full = barriers + team * maxStages;
  int begin = blockIdx.x * groups + team, step = gridDim.x * groups;
  auto load = [&](int token, int stage) {
    int row = lane < ranks ? ex.sendRow[(size_t)token * ranks + lane] : -1;
    uint32_t mask = __ballot_sync(allLanes, row >= 0);
    if (lane == 0) {
      masks[team * maxStages + stage] = mask;
      expectBytes(&full[stage], __popc(mask) * rowBytes);
    }
    __syncwarp();
    if (row >= 0)
      bulkLoad(ring + ((size_t)stage * ranks + lane) * rowBytes,
               (char *)group.slices[lane] + ex.y + (size_t)row * rowBytes,
               rowBytes, &full[stage]);
  };
  if (ok && member < 32)
    for (int s = 0, token = begin; s < stages && token < ex.tokens;
         ++s, token += step)
      load(token, s);
  int stage = 0;
  uint32_t parity = 0;
  for (int token = begin; ok && token < ex.tokens; token += step) {
    // A copy that never arrives leaves an error; the sum is then void.
    waitBulkLoad(group, &full[stage], parity);
    uint32_t mask = masks[team * maxStages + stage];
    const char *rows = ring + (size_t)stage * ranks * rowBytes;
    for (int i = member; i < columns; i += threads) {
      float sum[8] = {};
#pragma unroll
      for (int p = 0; p < ranks; ++p)
        if (mask >> p & 1)
          addRow(sum,
                 *(const int4 *)(rows + (size_t)p * rowBytes + (size_t)i * 16));
      ((int4 *)ex.out)[(size_t)token * columns + i] = roundRow(sum);
    }
    asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "r"(threads) : "memory");
    if (member < 32 && token + stages * step < ex.tokens)
      load(token + stages * step, stage);
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  finish(group, CombineDone, group.state + CombineArrived, gridDim.x,
         group.state + CombineEpoch, epoch);
}

template <int ranks>
int launchCombineBulk(const Group &group, const Exchange &ex, int blocks,
                      void *stream) {
  size_t tokenBytes = (size_t)ranks * ex.rowBytes;
  int slots = (int)(sharedBudget / tokenBytes);
  int groups = slots >= 3 * 4 ? 4 : slots >= 3 * 2 ? 2 : 1;
  int stages = slots / groups < maxStages ? slots / groups : maxStages;
  if (stages < 1)
    return cudaErrorInvalidValue;
  return launch(combineBulk<ranks>, blocks, combineThreads,
                groups * stages * tokenBytes, stream, group, ex, groups,
                stages);
}

} // namespace

extern "C" int moeb_combine_loads(const moeb_group *group,
                                  const moeb_exchange *ex, int blocks,
                                  void *stream) {
  if (!valid(group, ex))
    return cudaErrorInvalidValue;
  switch (group->ranks) {
  case 2:
    return launch(combineLoads<2, 4>, blocks, combineThreads, 0, stream, *group,
                  *ex);
  case 4:
    return launch(combineLoads<4, 2>, blocks, combineThreads, 0, stream, *group,
                  *ex);
  case 8:
    return launch(combineLoads<8, 1>, blocks, combineThreads, 0, stream, *group,
                  *ex);
  }
  return cudaErrorInvalidValue;
}

extern "C" int moeb_combine_bulk(const moeb_group *group,
                                 const moeb_exchange *ex, int blocks,
                                 void *stream) {
  if (!valid(group, ex))
    return cudaErrorInvalidValue;
  switch (group->ranks) {
  case 2:
    return launchCombineBulk<2>(*group, *ex, blocks, stream);
  case 4:
    return launchCombineBulk<4>(*group, *ex, blocks, stream);
  case 8:
    return launchCombineBulk<8>(*group, *ex, blocks, stream);
  }
  return cudaErrorInvalidValue;
}
