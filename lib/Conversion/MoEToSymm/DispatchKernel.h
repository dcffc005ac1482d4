//===- DispatchKernel.h - moe.dispatch as a kernel --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHKERNEL_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHKERNEL_H

#include "DispatchProtocol.h"
#include "KernelBuilder.h"

namespace mlir::moe {

/// The protocol of a dispatch as one persistent kernel. Each block has a
/// contiguous range of the tokens.
///
/// Rows are numbered per key in the order of tokens, without atomics: a vote
/// tells each lane which of 32 tokens have a row for the key. How far the
/// numbers reach depends on the number of tokens:
///
/// - Few tokens (`isReplicated`): every block looks at all tokens, one thread
///   each, and so knows all counts of this rank. Blocks need not meet.
/// - Many: a block numbers its own rows, one subgroup per key. Blocks meet once
///   and add up the counts of those before them.
class DispatchKernel : public DispatchProtocol {
public:
  DispatchKernel(DispatchOp op, KernelBuilder &b)
      : DispatchProtocol(op, b), b(b) {}

  void lower();

private:
  using Pred = ProtocolBuilder::Pred;

  /// A number per key that the threads of a block share.
  struct KeyTable {
    Value buffer;
    Value block; ///< null: the buffer belongs to one block
  };

  void allocate();
  void complete();

  // DispatchCount.cpp
  void count();
  void routeTokens();
  void countAllTokens();
  void countOwnTokens();
  /// The experts of a token, checked (placement_s2); -1 for none.
  SmallVector<Value> loadExperts(Value token, Value isToken);
  /// Whether one of them is on rank `peer`.
  Value hasExpertOf(ValueRange experts, Value peer);
  /// Whether one of the experts of a token has key `key`, and in which slot.
  std::pair<Value, Value> findKey(Value token, Value key);
  void publishCounts();
  /// Rows of the first `blocks` blocks of this rank with key `key`; on all
  /// lanes of a subgroup.
  Value countOfBlocks(Value key, Value blocks);
  /// Rows of this rank with key `key`, in the block that publishes them.
  Value totalOf(Value key);
  void publishSlabCounts();

  // DispatchPlace.cpp
  void place();
  void placeInSlab();
  void placeByRank();
  void placeInExpertOrder();
  void placeByExpert();
  void checkNeeds();

  // DispatchPut.cpp
  void putTokens();
  void putTokensInBulk();
  void fetchToken(Value token, Value slot);
  /// Finds the rows of a token, one per lane, and writes what goes with them;
  /// then `put` puts the rows themselves.
  void putToken(
      Value token, Value member,
      llvm::function_ref<void(Value row, Value peer, int64_t lanes)> putRows);
  std::pair<Value, Value> findRow(Value token, Value slot);
  std::pair<Value, Value> findReusedRow(Value token, Value slot);
  std::pair<Value, Value> mergeInLanes(Value token, Value isFirst);
  void putMetadataOfToken(Value token, Value row, Value base, int64_t lanes,
                          Value expert, Value weight);

  /// Whether every block counts all tokens: one thread each has to do.
  bool isReplicated() {
    return !op.isReuse() && !keyIsExpert() &&
           static_cast<int64_t>(op.getTokenBound()) <= b.launchShape().threads;
  }
  MemRefType rowType() { return cast<MemRefType>(op.getX().getType()); }
  /// Whether rows go through stages in shared memory. Then a subgroup has a
  /// ring of stages of its own; as many subgroups copy as have room.
  bool movesInBulk() {
    return b.launchShape().bulk && allowsBulkCopies(rowType()) &&
           copierBytes() <= kStageBytes;
  }
  int64_t numStages() { return std::max(b.launchShape().stages, kMinStages); }
  int64_t copierBytes() { return numStages() * getRowBytes(rowType()); }
  int64_t numCopiers() {
    return std::min(b.numSubgroups(), kStageBytes / copierBytes());
  }
  /// Groups of 32 tokens, each counted by a subgroup when all are.
  int64_t numChunks() {
    return llvm::divideCeil(static_cast<int64_t>(op.getTokenBound()),
                            kSubgroupSize);
  }
  /// Counts that each rank sends to the others: per expert or per rank.
  int64_t numExchanged() {
    return op.isExpertMajor() ? placement.numExperts : placement.numRanks;
  }

  /// Whether the numbers of a block's rows fit shared memory: at most
  /// kMaxSharedRows, however few blocks run.
  bool sharesRowNumbers() {
    return isReplicated() &&
           static_cast<int64_t>(op.getTokenBound()) * b.numRanks() <=
               kMaxSharedRows;
  }
  static constexpr int64_t kMaxSharedRows = 2048;
  /// Where `rowNumber` has the rows of `token`.
  Value ownRow(Value token) {
    return sharesRowNumbers() ? b.sub(token, first) : token;
  }

  KeyTable keyTable(int64_t keys, Value scratch);
  Value loadKey(const KeyTable &table, Value key);
  void storeKey(Value value, const KeyTable &table, Value key);

  KernelBuilder &b;
  Value first, end; ///< this block's tokens
  Value epoch;
  Value epochCounter, barrierCounter, doneCounter;
  Value arrived, done; ///< flags
  Value all;           ///< counts of all ranks: R×keys
  Value rowNumber;     ///< like send_row: a row's number among those counted
  Value blockCounts;   ///< keys×blocks: rows of each block
  Value chunkStart;    ///< (chunks + 1)×R: rows before each chunk of tokens
  /// Scratch memory of tables that are too large for shared memory.
  Value startScratch, groupScratch, groupRowsScratch;
  KeyTable start;             ///< where the counted rows of a key start
  KeyTable groups, groupRows; ///< place and size of each expert's group
  KeyTable needed;            ///< rows that each rank needs
  Value ring, full; ///< stages of this subgroup, arrivals at all stages
  Value slabCounts;
  Value status; ///< of this rank, negative after an error
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHKERNEL_H
