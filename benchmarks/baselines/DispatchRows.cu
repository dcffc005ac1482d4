//===- DispatchRows.cu - dispatch of many tokens ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rows lie without gaps in the order of (sender, token), one per token and
// rank. One kernel numbers the rows, exchanges the counts, stores each row
// where it belongs, and signals.
//
//===----------------------------------------------------------------------===//

#include "Device.h"

using namespace moeb;

namespace {

constexpr int storeThreads = 1024;
/// Columns of 16 bytes per lane and step: 7 x 32 lanes divide 896 columns.
constexpr int storeUnroll = 7;
constexpr int bulkWarps = 4;

//===----------------------------------------------------------------------===//
// Routing
//===----------------------------------------------------------------------===//

/// Of a block: its tokens, and its first row on each rank.
struct Route {
  int count[maxRanks], first[maxRanks];
  int before[maxRanks], total[maxRanks];
  int perWarp[32][maxRanks];
};

/// Numbers the rows of tokens first .. last - 1 for each rank, from 0.
__device__ void numberRows(const Group &group, const Exchange &ex, int first,
                           int last, Route &route) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  if (threadIdx.x < maxRanks)
    route.count[threadIdx.x] = 0;
  for (int base = first; base < last; base += blockDim.x) {
    int token = base + threadIdx.x;
    uint32_t mask = token < last ? destinations(group, ex, token) : 0;
    uint32_t votes[maxRanks];
#pragma unroll
    for (int r = 0; r < maxRanks; ++r) {
      votes[r] = __ballot_sync(allLanes, mask >> r & 1);
      if (lane == r)
        route.perWarp[warp][r] = __popc(votes[r]);
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < maxRanks; ++r) {
      if (r >= group.ranks || token >= last)
        continue;
      int row = route.count[r] + __popc(votes[r] & ((1u << lane) - 1));
      for (int w = 0; w < warp; ++w)
        row += route.perWarp[w][r];
      ex.sendRow[(size_t)token * group.ranks + r] = mask >> r & 1 ? row : -1;
    }
    __syncthreads();
    if (threadIdx.x < maxRanks)
      for (int w = 0; w < warps; ++w)
        route.count[threadIdx.x] += route.perWarp[w][threadIdx.x];
    __syncthreads();
  }
  __syncthreads();
  if (threadIdx.x < maxRanks)
    ((int *)group.state)[BlockCounts + blockIdx.x * maxRanks + threadIdx.x] =
        route.count[threadIdx.x];
}

/// Exchanges the counts and finds this block's first row on each rank. All
/// ranks have entered the dispatch when it returns true.
__device__ bool placeRows(const Group &group, const Exchange &ex,
                          uint32_t epoch, Route &route) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  const volatile int *counts = (const volatile int *)group.state + BlockCounts;
  for (int r = warp; r < maxRanks; r += warps) {
    int before = 0, total = 0;
    for (int b = lane; b < gridDim.x; b += 32) {
      int count = counts[b * maxRanks + r];
      total += count;
      before += b < blockIdx.x ? count : 0;
    }
    before = __reduce_add_sync(allLanes, before);
    total = __reduce_add_sync(allLanes, total);
    if (lane == 0) {
      route.before[r] = before;
      route.total[r] = total;
    }
  }
  __syncthreads();
  bool ok = true;
  if (threadIdx.x < group.ranks) {
    int peer = threadIdx.x;
    if (blockIdx.x == 0) {
      int32_t *to = countsOf(group, peer, group.rank);
      for (int r = 0; r < group.ranks; ++r)
        to[r] = route.total[r];
      signal(group, peer, Counts, epoch);
    }
    ok = waitFor(group, peer, Counts, epoch);
  }
  if (!__syncthreads_and(ok))
    return false;
  if (threadIdx.x < group.ranks) {
    int rank = threadIdx.x, row = route.before[rank], needed = 0;
    for (int s = 0; s < group.ranks; ++s) {
      int count =
          ((const volatile int32_t *)countsOf(group, group.rank, s))[rank];
      needed += count;
      row += s < group.rank ? count : 0;
    }
    route.first[rank] = row;
    if (needed > ex.capacity) {
      recordError(group, Capacity, rank, ex.capacity, needed);
      ok = false;
    }
  }
  return __syncthreads_and(ok);
}

/// Lane r gets the row of `token` on rank r, or -1, and all lanes tell the
/// ranks about it.
__device__ int sendToken(const Group &group, const Exchange &ex, int token,
                         const Route &route) {
  int lane = threadIdx.x % 32, row = -1;
  if (lane < group.ranks) {
    int32_t *place = ex.sendRow + (size_t)token * group.ranks + lane;
    row = *place;
    if (row >= 0)
      *place = row += route.first[lane];
  }
  for (int r = 0; r < group.ranks; ++r) {
    int there = __shfl_sync(allLanes, row, r);
    if (there >= 0 && lane < ex.topK)
      sendExpert(group, ex, token, r, there, lane);
  }
  return row;
}

/// The phases before rows move; false when they failed.
__device__ bool prepareRows(const Group &group, const Exchange &ex,
                            uint32_t epoch, int first, int last, Route &route) {
  numberRows(group, ex, first, last, route);
  return gridBarrier(group, group.state + DispatchArrived) &&
         placeRows(group, ex, epoch, route);
}

__device__ int firstToken(const Exchange &ex, int block) {
  return (int)((int64_t)ex.tokens * block / gridDim.x);
}

//===----------------------------------------------------------------------===//
// Dispatch
//===----------------------------------------------------------------------===//

/// A warp per token: its row is read once and stored to every destination, in
/// an order rotated by rank and warp.
__global__ void __launch_bounds__(storeThreads, 1)
    dispatchStores(const __grid_constant__ Group group,
                   const __grid_constant__ Exchange ex) {
  __shared__ Route route;
  uint32_t epoch = ((volatile uint32_t *)group.state)[DispatchEpoch] + 1;
  int first = firstToken(ex, blockIdx.x), last = firstToken(ex, blockIdx.x + 1);
  bool ok = prepareRows(group, ex, epoch, first, last, route);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32,
      columns = ex.rowBytes / 16;
  for (int token = first + warp; ok && token < last;
       token += storeThreads / 32) {
    int row = sendToken(group, ex, token, route);
    const int4 *from = (const int4 *)ex.x + (size_t)token * columns;
#pragma unroll 1
    for (int base = 0; base < columns; base += 32 * storeUnroll) {
      int4 v[storeUnroll];
#pragma unroll
      for (int u = 0; u < storeUnroll; ++u)
        if (base + 32 * u + lane < columns)
          v[u] = loadRow(from + base + 32 * u + lane);
#pragma unroll 1
      for (int i = 0; i < group.ranks; ++i) {
        int peer = (i + group.rank + warp + 1) % group.ranks;
        int there = __shfl_sync(allLanes, row, peer);
        if (there < 0)
          continue;
        int4 *to = (int4 *)((char *)group.slices[peer] + ex.recv) +
                   (size_t)there * columns + base + lane;
#pragma unroll
        for (int u = 0; u < storeUnroll; ++u)
          if (base + 32 * u + lane < columns)
            storeRow(to + 32 * u, v[u]);
      }
    }
  }
  finish(group, DispatchDone, group.state + DispatchArrived, 2 * gridDim.x,
         group.state + DispatchEpoch, epoch);
}

/// The same with bulk copies: each warp has a ring of rows in shared memory.
__global__ void __launch_bounds__(32 * bulkWarps, 1)
    dispatchBulk(const __grid_constant__ Group group,
                 const __grid_constant__ Exchange ex, int stages) {
  extern __shared__ __align__(128) char rings[];
  __shared__ __align__(8) uint64_t barriers[bulkWarps * maxStages];
  __shared__ Route route;
  if (threadIdx.x < bulkWarps * maxStages)
    initBarrier(&barriers[threadIdx.x]);
  uint32_t epoch = ((volatile uint32_t *)group.state)[DispatchEpoch] + 1;
  int first = firstToken(ex, blockIdx.x), last = firstToken(ex, blockIdx.x + 1);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, rowBytes = ex.rowBytes;
  char *ring = rings + (size_t)warp * stages * rowBytes;
  uint64_t *full = barriers + warp * maxStages;
  int begin = first + warp;
  int mine = begin < last ? (last - begin + bulkWarps - 1) / bulkWarps : 0;
  auto load = [&](int k, int stage) {
    expectBytes(&full[stage], rowBytes);
    bulkLoad(ring + stage * rowBytes,
             (const char *)ex.x + (size_t)(begin + k * bulkWarps) * rowBytes,
             rowBytes, &full[stage]);
  };
  __syncthreads();
  // Rows do not depend on the routes, so the first ones come in meanwhile.
  int ahead = stages - 1;
  if (lane == 0)
    for (int k = 0; k < ahead && k < mine; ++k)
      load(k, k);
  bool ok = prepareRows(group, ex, epoch, first, last, route);
  int stage = 0;
  uint32_t parity = 0;
  for (int k = 0; k < mine; ++k) {
    int row = ok ? sendToken(group, ex, begin + k * bulkWarps, route) : -1;
    // Also after a failure: no copy may be under way when the block ends.
    bool arrived = waitBulkLoad(group, &full[stage], parity);
    if (!ok || !arrived) {
      if (k + 1 >= ahead)
        break;
    } else {
      for (int i = 0; i < group.ranks; ++i) {
        int peer = (i + group.rank + warp + 1) % group.ranks;
        int there = __shfl_sync(allLanes, row, peer);
        if (there >= 0 && lane == 0)
          bulkStore((char *)group.slices[peer] + ex.recv +
                        (size_t)there * rowBytes,
                    ring + stage * rowBytes, rowBytes);
      }
      if (lane == 0) {
        commitBulk();
        if (k + ahead < mine) {
          waitBulkReadButOne();
          load(k + ahead, stage == 0 ? ahead : stage - 1);
        }
      }
      __syncwarp();
    }
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  if (lane == 0)
    waitBulkStores();
  fenceProxies();
  finish(group, DispatchDone, group.state + DispatchArrived, 2 * gridDim.x,
         group.state + DispatchEpoch, epoch);
}

} // namespace

extern "C" int moeb_dispatch_stores(const moeb_group *group,
                                    const moeb_exchange *ex, int blocks,
                                    void *stream) {
  if (!valid(group, ex))
    return cudaErrorInvalidValue;
  return launch(dispatchStores, blocks, storeThreads, 0, stream, *group, *ex);
}

extern "C" int moeb_dispatch_bulk(const moeb_group *group,
                                  const moeb_exchange *ex, int blocks,
                                  void *stream) {
  if (!valid(group, ex))
    return cudaErrorInvalidValue;
  int stages = (int)(sharedBudget / ((size_t)bulkWarps * ex->rowBytes));
  if (stages < 2)
    return cudaErrorInvalidValue;
  stages = stages < maxStages ? stages : maxStages;
  return launch(dispatchBulk, blocks, 32 * bulkWarps,
                (size_t)bulkWarps * stages * ex->rowBytes, stream, *group, *ex,
                stages);
}
