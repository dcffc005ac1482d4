//===- KernelShape.h - what kernels of moe ops can be ---------- -*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_KERNELSHAPE_H
#define MOE_MLIR_CONVERSION_KERNELSHAPE_H

#include <algorithm>
#include <cstdint>

namespace mlir::moe {

/// Shared memory for the stages of bulk copies: what a block has on sm_90, less
/// some for the tables of the protocol.
inline constexpr int64_t kStageBytes = 208 * 1024;

/// With fewer stages a bulk copy in and one out do not overlap.
inline constexpr int64_t kMinStages = 2;

/// A combine with bulk copies: the fewest parts that rows are moved in, so that
/// `stages` stages, each with a part of `rows` rows of a token, have room; 0
/// when there is no such number. A part is a multiple of 16 bytes.
inline int64_t getStageParts(int64_t rowBytes, int64_t rows, int64_t stages) {
  for (int64_t parts = 1; parts <= 64; ++parts)
    if (rowBytes % (16 * parts) == 0 &&
        stages * rows * (rowBytes / parts) <= kStageBytes)
      return parts;
  return 0;
}

/// Subgroups of a team that adds the rows of a stage together: with more, each
/// has too little to do for what it takes to begin.
inline constexpr int64_t kMinAdders = 3;
inline constexpr int64_t kMaxAdders = 5;

/// Most teams of at least kMinAdders that `adding` subgroups can form to add
/// what is in `stages` stages, or one of all. A stage has to be of the same
/// team in every round, or a team could wait for a round before the one before
/// it has ended. And a team needs two, to have one that fills while it adds.
inline int64_t getTeamsForStages(int64_t adding, int64_t stages) {
  for (int64_t teams = std::min(adding / kMinAdders, stages / 2); teams > 1;
       --teams)
    if (adding % teams == 0 && stages % teams == 0)
      return teams;
  return 1;
}

/// Bytes that all blocks of a combine have in flight, about, where there is a
/// choice: more do not make it faster, and slower with more than two ranks.
inline constexpr int64_t kCombineBytesInFlight = 4 << 20;

/// Threads of a subgroup, and tokens that it looks at together.
inline constexpr int64_t kSubgroupSize = 32;

/// A dispatch whose rows are numbered by expert: whether a bit for each expert
/// and token fits shared memory, and tokens are so few that it takes less to
/// look at all of them in each block than to meet.
inline bool fitsMarks(int64_t tokens, int64_t experts, int64_t threads) {
  int64_t words = (tokens + kSubgroupSize - 1) / kSubgroupSize;
  return tokens <= threads && experts * words <= 4096;
}

/// Tokens per subgroup from which on, where such bits do not fit, subgroups
/// take shares of tokens one by one. It takes one more meeting of the blocks,
/// which pays sooner when they are few.
inline int64_t getSharedTokensByExpert(int64_t blocks) {
  return blocks < 64 ? 2 : 4;
}

/// Bytes of an alltoallv that a subgroup moves at a time: what its lanes hold
/// in registers.
inline constexpr int64_t kPieceBytes = 4096;

/// Most pieces of at least that size that a row is moved in, a power of two.
inline int64_t getMaxPiecesOfRow(int64_t rowBytes) {
  int64_t pieces = 1;
  while (2 * pieces * kPieceBytes <= rowBytes)
    pieces *= 2;
  return pieces;
}

/// Ranks of a kernel, at most. Code that looks at all ranks is unrolled by the
/// lanes of a subgroup, and a combine that pushes has two numbers for each in
/// the shared memory of a block.
inline constexpr int64_t kMaxKernelRanks = 4096;

/// Shape of a kernel. The runtime launches fewer blocks when not all of them
/// fit on the device at the same time; kernels read the number they run with.
struct LaunchShape {
  int64_t blocks = 132;
  int64_t threads = 512;
  /// Rows go through shared memory by bulk copies (sm_90), not through
  /// registers by loads and stores.
  bool bulk = false;
  /// With bulk copies: rows (combine: tokens) in flight, per subgroup
  /// (combine: block).
  int64_t stages = 3;
  /// Without: subgroups that move one token together, or shares of it that
  /// subgroups take one by one; in an alltoallv, pieces that a row is moved in.
  int64_t team = 1;
};

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_KERNELSHAPE_H
