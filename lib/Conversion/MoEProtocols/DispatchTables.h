//===- DispatchTables.h - counts and places, in a kernel -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHTABLES_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHTABLES_H

#include "DispatchPadding.h"
#include "DispatchProtocol.h"
#include "KernelBuilder.h"

namespace mlir::moe {

/// What the counts of all ranks tell, in a kernel: each block finds out for
/// itself where rows start. One of them stores the results of the op that
/// follow from counts.
class DispatchTables : public DispatchProtocol {
protected:
  DispatchTables(DispatchOp op, KernelBuilder &b)
      : DispatchProtocol(op, b), b(b) {}
  virtual ~DispatchTables() = default;

  using Pred = ProtocolBuilder::Pred;

  /// Numbers that the threads of a block share.
  struct Table {
    Value buffer;
    Value block; ///< null: the buffer belongs to one block
  };

  /// Keys whose numbers fit the shared memory of a block (three tables).
  static constexpr int64_t kMaxSharedKeys = 2048;

  /// Scratch memory for tables of that shape, one for each block.
  Value scratchTable(ArrayRef<int64_t> shape);
  /// In shared memory, unless there is scratch memory for it.
  Table makeTable(ArrayRef<int64_t> shape, Value scratch);
  SmallVector<Value> indicesOf(const Table &table, ValueRange entry);
  Value loadEntry(const Table &table, ValueRange entry);
  void storeEntry(Value value, const Table &table, ValueRange entry);

  /// Sum of `count(expert)` over the experts of `rank`; on all lanes of a
  /// subgroup, which share the experts.
  Value sumOverExpertsInLanes(Value rank,
                              llvm::function_ref<Value(Value)> count);

  /// Whether `wanted` is one of the experts in row `item` of `ids`, and in
  /// which slot. No row is looked at unless `isItem`.
  std::pair<Value, Value> findExpert(Value ids, Value item, Value isItem,
                                     Value wanted);
  /// Looks at all first <= i < last, 32 at a time, one on each lane: `find(i)`
  /// says whether i has what is looked for, and in which slot. Those that have
  /// it are numbered in ascending order, from `init` on: `emit(i, slot,
  /// number)` on the lane of each. Returns the next number, on all lanes.
  Value numberInLanes(Value first, Value last, Value init,
                      llvm::function_ref<std::pair<Value, Value>(Value)> find,
                      llvm::function_ref<void(Value, Value, Value)> emit);

  // DispatchPlace.cpp
  void placeByRank();
  void placeByExpert();
  /// Where the rows of a block of this rank come after those of others.
  virtual void addLowerBlocks() {}
  void noteTokensFromRanks();
  /// Whether all ranks are fine and have room for their rows.
  Value checkNeeds();

  // DispatchPad.cpp
  /// Fills rows that no token was sent to, if the counts `areFine`.
  void pad(Value areFine);
  /// Fills a row; the same one on all lanes of a subgroup.
  void padRow(Value row);

  /// Counts that each rank tells the others: per expert or per rank.
  int64_t numExchanged() {
    return op.isExpertMajor() ? placement.numExperts : placement.numRanks;
  }

  KernelBuilder &b;
  Value all; ///< counts of all ranks: R×keys
  /// Scratch memory of tables that are too large for shared memory.
  Value startScratch, groupScratch, groupRowsScratch;
  Table start;             ///< where the counted rows of a key start
  Table groups, groupRows; ///< place and size of each expert's group
  Table needed;            ///< rows that each rank needs
  Value slabRows;          ///< where blocks need them, the rows of each sender
  std::optional<DispatchPadding> padding;

private:
  void placeGroupsOf(Value peer);
  void padRows(Value begin, Value end);
  void padGroups();
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHTABLES_H
