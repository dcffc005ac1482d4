//===- Slab.cu - dispatch and combine of few tokens -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Row i of a sender has a fixed place, so no counts are exchanged and no block
// waits for another: each finds the numbers of its tokens by itself. The last
// block to arrive signals all ranks. Two slabs are used in turn: a rank that
// writes a slab again has seen that all others are done with it, so combine
// needs no barrier at its end.
//
//===----------------------------------------------------------------------===//

#include "Device.h"

using namespace moeb;

namespace {

constexpr int slabThreads = 512;
constexpr int slabUnroll = 2;

/// First row of this rank's part of a slab; `epoch` says which slab.
__device__ size_t firstRow(const Group &group, const Exchange &ex,
                           uint32_t epoch) {
  return ((size_t)(epoch & 1) * group.ranks + group.rank) * ex.tokens;
}

template <int ranks>
__global__ void __launch_bounds__(slabThreads, 2)
    dispatchSlab(const __grid_constant__ Group group,
                 const __grid_constant__ Exchange ex) {
  constexpr int warps = slabThreads / 32;
  __shared__ int perWarp[warps][maxRanks];
  __shared__ int slot[maxRanks];
  __shared__ uint32_t mine;
  uint32_t epoch = ((volatile uint32_t *)group.state)[SlabEpoch] + 1;
  size_t first = firstRow(group, ex, epoch);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32,
      columns = ex.rowBytes / 16;
  for (int token = blockIdx.x; token < ex.tokens; token += gridDim.x) {
    const int4 *from = (const int4 *)ex.x + (size_t)token * columns;
    int4 v[slabUnroll];
#pragma unroll
    for (int u = 0; u < slabUnroll; ++u)
      if (threadIdx.x + u * slabThreads < columns)
        v[u] = loadRow(from + threadIdx.x + u * slabThreads);

    // How many tokens before this one go to each rank.
    int before[ranks] = {};
    for (int other = threadIdx.x; other <= token; other += slabThreads) {
      uint32_t mask = destinations(group, ex, other);
      if (other == token)
        mine = mask;
      else
#pragma unroll
        for (int r = 0; r < ranks; ++r)
          before[r] += mask >> r & 1;
    }
#pragma unroll
    for (int r = 0; r < ranks; ++r) {
      int sum = __reduce_add_sync(allLanes, before[r]);
      if (lane == 0)
        perWarp[warp][r] = sum;
    }
    __syncthreads();
    if (threadIdx.x < ranks) {
      int row = 0;
      for (int w = 0; w < warps; ++w)
        row += perWarp[w][threadIdx.x];
      slot[threadIdx.x] = mine >> threadIdx.x & 1 ? row : -1;
      ex.sendRow[(size_t)token * ranks + threadIdx.x] =
          mine >> threadIdx.x & 1 ? group.rank * ex.tokens + row : -1;
    }
    __syncthreads();

    for (int i = threadIdx.x; i < ranks * ex.topK; i += slabThreads)
      if (int r = i / ex.topK; slot[r] >= 0)
        sendExpert(group, ex, token, r, first + slot[r], i % ex.topK);
    int4 *to[ranks];
#pragma unroll
    for (int i = 0; i < ranks; ++i) {
      int peer = (i + group.rank + 1 + token) % ranks;
      to[i] = slot[peer] >= 0 ? (int4 *)((char *)group.slices[peer] + ex.recv) +
                                    (first + slot[peer]) * (size_t)columns
                              : nullptr;
    }
    for (int base = threadIdx.x; base < columns;
         base += slabUnroll * slabThreads) {
      if (base != threadIdx.x)
#pragma unroll
        for (int u = 0; u < slabUnroll; ++u)
          if (base + u * slabThreads < columns)
            v[u] = loadRow(from + base + u * slabThreads);
#pragma unroll
      for (int i = 0; i < ranks; ++i)
        if (to[i]) {
#pragma unroll
          for (int u = 0; u < slabUnroll; ++u)
            if (base + u * slabThreads < columns)
              storeRow(to[i] + base + u * slabThreads, v[u]);
        }
    }
    __syncthreads();
  }
  finish(group, DispatchDone, group.state + DispatchArrived, gridDim.x,
         group.state + SlabEpoch, epoch);
}

template <int ranks>
__global__ void __launch_bounds__(slabThreads, 1)
    combineSlab(const __grid_constant__ Group group,
                const __grid_constant__ Exchange ex) {
  uint32_t epoch = ((volatile uint32_t *)group.state)[CombineEpoch] + 1;
  size_t slab = (size_t)(((volatile uint32_t *)group.state)[SlabEpoch] & 1) *
                ranks * ex.tokens;
  int columns = ex.rowBytes / 16;
  // Known before the rows are there.
  int rows[ranks];
#pragma unroll
  for (int p = 0; p < ranks; ++p)
    rows[p] = blockIdx.x < ex.tokens
                  ? ex.sendRow[(size_t)blockIdx.x * ranks + p]
                  : -1;
  bool ok = true;
  if (threadIdx.x < ranks) {
    int peer = (threadIdx.x + group.rank) % ranks;
    if (blockIdx.x == 0)
      signal(group, peer, CombineReady, epoch);
    ok = waitFor(group, peer, CombineReady, epoch);
  }
  ok = __syncthreads_and(ok);
  for (int token = blockIdx.x; ok && token < ex.tokens; token += gridDim.x) {
    const int4 *from[ranks];
#pragma unroll
    for (int p = 0; p < ranks; ++p) {
      int row =
          token == blockIdx.x ? rows[p] : ex.sendRow[(size_t)token * ranks + p];
      from[p] = row >= 0 ? (const int4 *)((char *)group.slices[p] + ex.y) +
                               (slab + row) * (size_t)columns
                         : nullptr;
    }
    for (int base = threadIdx.x; base < columns;
         base += slabUnroll * slabThreads) {
      int4 v[ranks][slabUnroll];
#pragma unroll
      for (int p = 0; p < ranks; ++p)
        if (from[p]) {
#pragma unroll
          for (int u = 0; u < slabUnroll; ++u)
            if (base + u * slabThreads < columns)
              v[p][u] = loadPeer(from[p] + base + u * slabThreads);
        }
#pragma unroll
      for (int u = 0; u < slabUnroll; ++u)
        if (base + u * slabThreads < columns) {
          float sum[8] = {};
#pragma unroll
          for (int p = 0; p < ranks; ++p)
            if (from[p])
              addRow(sum, v[p][u]);
          ((int4 *)ex.out)[(size_t)token * columns + base + u * slabThreads] =
              roundRow(sum);
        }
    }
  }
  // Nothing of this rank is read by others, so there is nothing to publish.
  __syncthreads();
  if (threadIdx.x == 0 &&
      atomicAdd(group.state + CombineArrived, 1) == gridDim.x - 1) {
    ((volatile uint32_t *)group.state)[CombineArrived] = 0;
    ((volatile uint32_t *)group.state)[CombineEpoch] = epoch;
  }
}

template <typename Two, typename Four, typename Eight>
int launchSlab(Two two, Four four, Eight eight, const moeb_group *group,
               const moeb_exchange *ex, int blocks, void *stream) {
  if (ex->rowBytes <= 0 || ex->rowBytes % 16 || ex->tokens < 1 || ex->topK < 1)
    return cudaErrorInvalidValue;
  int grid = blocks < ex->tokens ? blocks : ex->tokens;
  switch (group->ranks) {
  case 2:
    return launch(two, grid, slabThreads, 0, stream, *group, *ex);
  case 4:
    return launch(four, grid, slabThreads, 0, stream, *group, *ex);
  case 8:
    return launch(eight, grid, slabThreads, 0, stream, *group, *ex);
  }
  return cudaErrorInvalidValue;
}

} // namespace

extern "C" int moeb_dispatch_slab(const moeb_group *group,
                                  const moeb_exchange *ex, int blocks,
                                  void *stream) {
  return launchSlab(dispatchSlab<2>, dispatchSlab<4>, dispatchSlab<8>, group,
                    ex, blocks, stream);
}

extern "C" int moeb_combine_slab(const moeb_group *group,
                                 const moeb_exchange *ex, int blocks,
                                 void *stream) {
  return launchSlab(combineSlab<2>, combineSlab<4>, combineSlab<8>, group, ex,
                    blocks, stream);
}
