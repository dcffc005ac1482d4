//===- ExpertLists.h - rows of each expert, in a kernel ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_EXPERTLISTS_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_EXPERTLISTS_H

#include "DispatchTables.h"

namespace mlir::moe {

/// Lists the received rows that each expert of this rank takes (dispatch_s14),
/// in a kernel, once all of them are there. It looks at what has been received
/// alone, and so does not depend on how rows get here.
///
/// The blocks share the rows out, and each counts those of every expert in its
/// share. Blocks then meet, and with the counts of all each of them knows the
/// places of its rows. Where rows are few, every block counts all of them
/// instead, and need not meet the others.
class ExpertLists : public DispatchTables {
public:
  ExpertLists(DispatchOp op, KernelBuilder &b) : DispatchTables(op, b) {}

  /// Allocates its memory, outside of the kernel. Blocks that have waited for
  /// rows for one another have to `meet` before they build.
  void allocate(bool meetsBefore);
  /// Whether all blocks of the kernel have come here.
  Value meet();
  /// Writes the outputs. Nothing is listed unless `areThere`, which is the same
  /// on all threads of the block: whether the rows of this rank have come.
  void build(Value areThere);

  /// Entries of its tables that are in the shared memory of a block.
  int64_t numSharedEntries() {
    return numTableEntries() <= kMaxTableEntries ? numTableEntries() : 0;
  }

private:
  /// Tables that are larger are not in shared memory.
  static constexpr int64_t kMaxTableEntries = 1024;

  int64_t numExperts() { return placement.maxPerRank(); }
  int64_t numTableEntries();
  /// Parts of a block's share of the rows: where experts are few, several
  /// subgroups count for one of them.
  int64_t partsPerBlock();
  bool isReplicated();
  Table makeOwnTable(int64_t entries, Value scratch);

  /// What a subgroup works on: an expert, and the rows of one part.
  struct Item {
    Value number;  ///< in this block
    Value expert;  ///< among those of this rank
    Value part;    ///< among those of all blocks
    Value isFirst; ///< whether the part is the first one of this block
    Value first, last;
  };
  void forItems(llvm::function_ref<void(const Item &)> body);
  Value firstOfPart(Value part);

  void countReceived(Value areThere);
  /// The row of the `item`-th one that has been received.
  Value rowAt(Value item);
  /// Numbers the rows of an expert among the items `first` to `last` from
  /// `init` on; returns the next number.
  Value
  numberRows(Value expert, Value first, Value last, Value init,
             llvm::function_ref<void(Value, Value, Value)> emit = nullptr);
  void count();
  void addUpParts();
  void storeCounts(const Item &item, Value lower, Value total);
  void placeGroups();
  void writeEntries();
  void fillGaps();
  void storeNone(Value place);

  Value barrierCounter;
  Value partCounts; ///< experts×parts: rows of each part
  Value startScratch, totalScratch, offsetScratch, beginScratch;
  Table starts;   ///< items: rows of the expert in lower parts
  Table totals;   ///< experts: their rows
  Table offsets;  ///< experts + 1: where their groups begin, and the last one's
                  ///< end
  Table begins;   ///< slab: ranks: rows received from lower ones
  Value numItems; ///< rows that have been received
  Value length;   ///< of the lists; 0 when nothing may be written
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_EXPERTLISTS_H
