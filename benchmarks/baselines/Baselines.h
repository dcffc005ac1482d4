//===- Baselines.h - hand-written exchanges, C ABI --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What generated code is compared with: the limits of the links, and
/// dispatch and combine written by hand for one machine of up to eight GPUs.
///
/// Every function enqueues on `stream` and returns a cudaError_t; none
/// allocates or synchronises, so all but the first call may be captured in a
/// graph. Epochs and counters live in device memory. Waits are bounded: a
/// kernel that gives up writes `error` of its group and ends.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_BENCHMARKS_BASELINES_H
#define MOE_BENCHMARKS_BASELINES_H

#include <stdint.h>

#define MOEB_MAX_RANKS 8
#define MOEB_MAX_BLOCKS 1024
/// 32-bit words at the start of a slice that belong to the library.
#define MOEB_SLICE_WORDS 256
/// 32-bit words of moeb_group.state.
#define MOEB_STATE_WORDS (64 + MOEB_MAX_BLOCKS * MOEB_MAX_RANKS)

#ifdef __cplusplus
extern "C" {
#endif

/// Ranks and what they share. All memory is device memory, zeroed once.
typedef struct moeb_group {
  void *slices[MOEB_MAX_RANKS]; ///< the same symmetric buffer on every rank
  int32_t ranks;
  int32_t rank;
  uint64_t timeout_ns;
  uint32_t *state; ///< MOEB_STATE_WORDS words of this rank alone
  /// Phase + 1, peer, expected, seen: the first wait that gave up.
  int64_t *error;
} moeb_group;

/// Shape and buffers of a dispatch or a combine. Offsets are in bytes into
/// every slice, multiples of 256. The number of experts is a multiple of the
/// number of ranks.
typedef struct moeb_exchange {
  const void *x;          ///< tokens rows
  const int32_t *experts; ///< tokens x topK
  const float *weights;   ///< tokens x topK
  void *out;              ///< combine: tokens rows of bf16
  int32_t *sendRow;       ///< tokens x ranks, written by dispatch
  uint64_t recv;          ///< capacity rows; slab: twice that
  uint64_t y;             ///< rows that combine reads, arranged like recv
  uint64_t recvSource;    ///< i32 per row of recv: sender * tokens + token
  uint64_t recvExperts;   ///< topK i32 per row of recv; 0: do not send them
  uint64_t recvWeights;   ///< topK f32 per row of recv; 0: do not send them
  int32_t tokens;
  int32_t topK;
  int32_t expertsPerRank;
  int32_t rowBytes; ///< a multiple of 16
  int32_t capacity; ///< slab: ranks * tokens
} moeb_exchange;

const char *moeb_error_string(int code);

/// Waits `delay_ns`, then for all ranks. What follows on the streams of all
/// ranks starts together.
int moeb_barrier(const moeb_group *group, uint64_t delay_ns, void *stream);

/// The links. Each rank sends (or reads) `bytes` bytes to (from) every other
/// rank; src has `ranks * bytes`, the region at `offset` of a slice too.
int moeb_stores(const moeb_group *group, const void *src, uint64_t offset,
                uint64_t bytes, int blocks, void *stream);
int moeb_loads(const moeb_group *group, void *dst, uint64_t offset,
               uint64_t bytes, int blocks, void *stream);
int moeb_bulk(const moeb_group *group, const void *src, uint64_t offset,
              uint64_t bytes, int blocks, void *stream);
int moeb_copy_engines(const moeb_group *group, const void *src, uint64_t offset,
                      uint64_t bytes, void *stream);
/// One byte per thread, and to this rank as well.
int moeb_bytes(const moeb_group *group, const void *src, uint64_t offset,
               uint64_t bytes, void *stream);

/// Rows in the order of (sender, token), without gaps.
int moeb_dispatch_stores(const moeb_group *group, const moeb_exchange *exchange,
                         int blocks, void *stream);
int moeb_dispatch_bulk(const moeb_group *group, const moeb_exchange *exchange,
                       int blocks, void *stream);
int moeb_combine_loads(const moeb_group *group, const moeb_exchange *exchange,
                       int blocks, void *stream);
int moeb_combine_bulk(const moeb_group *group, const moeb_exchange *exchange,
                      int blocks, void *stream);

/// A fixed place per sender, two slabs in turn; for few tokens.
int moeb_dispatch_slab(const moeb_group *group, const moeb_exchange *exchange,
                       int blocks, void *stream);
int moeb_combine_slab(const moeb_group *group, const moeb_exchange *exchange,
                      int blocks, void *stream);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // MOE_BENCHMARKS_BASELINES_H
