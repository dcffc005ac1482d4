//===- Links.cu - what the links can carry ----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

using namespace moeb;

namespace {

/// Columns of 16 bytes per thread and step.
constexpr int unroll = 8;
constexpr int linkThreads = 1024;
constexpr int chunkBytes = 16384;
constexpr int chunkStages = 6;

/// The peer that a block serves, and its place among the blocks that do.
struct Share {
  int peer, index, count;

  __device__ Share(const Group &group) {
    int peers = group.ranks - 1;
    peer = (group.rank + 1 + blockIdx.x % peers) % group.ranks;
    index = blockIdx.x / peers;
    count = gridDim.x / peers;
  }
};

__global__ void barrierKernel(const __grid_constant__ Group group,
                              uint64_t delay) {
  uint32_t *epochWord = group.state + StartEpoch;
  uint32_t epoch = *(volatile uint32_t *)epochWord + 1;
  if (threadIdx.x == 0) {
    uint64_t start = nanoseconds();
    while (nanoseconds() - start < delay) {
    }
  }
  __syncthreads();
  if (threadIdx.x < group.ranks) {
    signal(group, threadIdx.x, Start, epoch);
    waitFor(group, threadIdx.x, Start, epoch);
  }
  __syncthreads();
  if (threadIdx.x == 0)
    *(volatile uint32_t *)epochWord = epoch;
}

__device__ void copyColumns(int4 *to, const int4 *from, size_t columns,
                            Share share) {
  size_t stride = (size_t)share.count * blockDim.x;
  size_t i = (size_t)share.index * blockDim.x + threadIdx.x;
  for (; i + (unroll - 1) * stride < columns; i += unroll * stride) {
    int4 v[unroll];
#pragma unroll
    for (int u = 0; u < unroll; ++u)
      v[u] = loadRow(from + i + u * stride);
#pragma unroll
    for (int u = 0; u < unroll; ++u)
      storeRow(to + i + u * stride, v[u]);
  }
  for (; i < columns; i += stride)
    storeRow(to + i, loadRow(from + i));
}

__global__ void __launch_bounds__(linkThreads, 1)
    storeKernel(const __grid_constant__ Group group, const char *src,
                uint64_t offset, uint64_t bytes) {
  Share share(group);
  copyColumns(
      (int4 *)((char *)group.slices[share.peer] + offset + group.rank * bytes),
      (const int4 *)(src + share.peer * bytes), bytes / 16, share);
}

__global__ void __launch_bounds__(linkThreads, 1)
    loadKernel(const __grid_constant__ Group group, char *dst, uint64_t offset,
               uint64_t bytes) {
  Share share(group);
  copyColumns((int4 *)(dst + share.peer * bytes),
              (const int4 *)((char *)group.slices[share.peer] + offset +
                             group.rank * bytes),
              bytes / 16, share);
}

/// One thread per block moves chunks through shared memory.
__global__ void bulkKernel(const __grid_constant__ Group group, const char *src,
                           uint64_t offset, uint64_t bytes) {
  extern __shared__ __align__(128) char stages[];
  __shared__ __align__(8) uint64_t full[chunkStages];
  if (threadIdx.x != 0)
    return;
  Share share(group);
  const char *from = src + share.peer * bytes;
  char *to = (char *)group.slices[share.peer] + offset + group.rank * bytes;
  for (int i = 0; i < chunkStages; ++i)
    initBarrier(&full[i]);
  fenceProxies();
  size_t chunks = bytes / chunkBytes;
  size_t mine = share.index < chunks
                    ? (chunks - share.index + share.count - 1) / share.count
                    : 0;
  auto place = [&](size_t k) {
    return (share.index + k * share.count) * chunkBytes;
  };
  auto load = [&](size_t k) {
    int stage = k % chunkStages;
    expectBytes(&full[stage], chunkBytes);
    bulkLoad(stages + stage * chunkBytes, from + place(k), chunkBytes,
             &full[stage]);
  };
  for (size_t k = 0; k < chunkStages - 1 && k < mine; ++k)
    load(k);
  for (size_t k = 0; k < mine; ++k) {
    int stage = k % chunkStages;
    if (!waitBulkLoad(group, &full[stage], k / chunkStages & 1))
      break;
    bulkStore(to + place(k), stages + stage * chunkBytes, chunkBytes);
    commitBulk();
    if (k + chunkStages - 1 < mine) {
      waitBulkReadButOne();
      load(k + chunkStages - 1);
    }
  }
  waitBulkStores();
}

/// To all ranks in rank order, this one too.
__global__ void byteKernel(const __grid_constant__ Group group, const char *src,
                           uint64_t offset, uint64_t bytes) {
  int peer = blockIdx.y;
  uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < bytes)
    ((char *)group.slices[peer])[offset + group.rank * bytes + i] =
        src[peer * bytes + i];
}

/// As many blocks for each peer.
int evenBlocks(const moeb_group *group, int blocks) {
  int peers = group->ranks - 1;
  return blocks < peers ? peers : blocks / peers * peers;
}

} // namespace

extern "C" const char *moeb_error_string(int code) {
  return cudaGetErrorString((cudaError_t)code);
}

extern "C" int moeb_barrier(const moeb_group *group, uint64_t delay,
                            void *stream) {
  barrierKernel<<<1, 32, 0, (cudaStream_t)stream>>>(*group, delay);
  return cudaGetLastError();
}

extern "C" int moeb_stores(const moeb_group *group, const void *src,
                           uint64_t offset, uint64_t bytes, int blocks,
                           void *stream) {
  return launch(storeKernel, evenBlocks(group, blocks), linkThreads, 0, stream,
                *group, (const char *)src, offset, bytes);
}

extern "C" int moeb_loads(const moeb_group *group, void *dst, uint64_t offset,
                          uint64_t bytes, int blocks, void *stream) {
  return launch(loadKernel, evenBlocks(group, blocks), linkThreads, 0, stream,
                *group, (char *)dst, offset, bytes);
}

extern "C" int moeb_bulk(const moeb_group *group, const void *src,
                         uint64_t offset, uint64_t bytes, int blocks,
                         void *stream) {
  if (bytes % chunkBytes)
    return cudaErrorInvalidValue;
  return launch(bulkKernel, evenBlocks(group, blocks), 32,
                chunkStages * chunkBytes, stream, *group, (const char *)src,
                offset, bytes);
}

extern "C" int moeb_bytes(const moeb_group *group, const void *src,
                          uint64_t offset, uint64_t bytes, void *stream) {
  dim3 grid((unsigned)((bytes + 255) / 256), group->ranks);
  byteKernel<<<grid, 256, 0, (cudaStream_t)stream>>>(*group, (const char *)src,
                                                     offset, bytes);
  return cudaGetLastError();
}

extern "C" int moeb_copy_engines(const moeb_group *group, const void *src,
                                 uint64_t offset, uint64_t bytes,
                                 void *stream) {
  // One stream per peer, so that copies to different peers overlap.
  static cudaStream_t streams[maxRanks];
  static cudaEvent_t fork, join[maxRanks];
  cudaError_t error = cudaSuccess;
  auto check = [&](cudaError_t result) {
    if (error == cudaSuccess)
      error = result;
    return error == cudaSuccess;
  };
  if (!fork && !check(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming)))
    return error;
  check(cudaEventRecord(fork, (cudaStream_t)stream));
  for (int i = 1; i < group->ranks; ++i) {
    int peer = (group->rank + i) % group->ranks;
    if (!streams[i]) {
      check(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
      check(cudaEventCreateWithFlags(&join[i], cudaEventDisableTiming));
    }
    check(cudaStreamWaitEvent(streams[i], fork, 0));
    check(cudaMemcpyAsync((char *)group->slices[peer] + offset +
                              group->rank * bytes,
                          (const char *)src + peer * bytes, bytes,
                          cudaMemcpyDeviceToDevice, streams[i]));
    check(cudaEventRecord(join[i], streams[i]));
    check(cudaStreamWaitEvent((cudaStream_t)stream, join[i], 0));
    if (error != cudaSuccess)
      return error;
  }
  return error;
}
