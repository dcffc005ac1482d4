//===- KernelBlocks.h - blocks of rows, in kernels --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELBLOCKS_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELBLOCKS_H

#include "KernelMessages.h"

#include <limits>

namespace mlir::moe {

/// The rows of a dispatch lie on the rank that receives them in *blocks*: those
/// of one sender, and with expert_major of one expert, follow one another. In a
/// *box* the blocks of all ranks lie one behind the other, in the order of
/// ranks and experts.
class KernelBlocks {
public:
  /// That tables have room for.
  static constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

  KernelBlocks(KernelMessages &b, Layout layout, ExpertPlacement placement)
      : b(b), isExpertMajor(layout == Layout::expert_major),
        placement(placement) {}

  /// Blocks between this rank and each other one.
  int64_t numParts() const {
    return isExpertMajor ? placement.maxPerRank() : 1;
  }
  int64_t numBlocks() const { return b.numRanks() * numParts(); }
  int64_t numKeys() const {
    return isExpertMajor ? placement.numExperts : b.numRanks();
  }
  /// The number of the block of rows with key `key`: a rank, or an expert.
  Value blockOf(Value key);
  /// First row and number of rows of a block in a table of blocks.
  std::pair<Value, Value> rowsOf(Value table, Value block);

  /// Whether rows are moved from box to box; if not, those of a rank lie
  /// together where they belong.
  bool needsBox() const { return isExpertMajor || b.pairRows(); }
  /// The rows of the blocks of a box, counted from 0 without gaps: the number
  /// of the first one of each, and of all. Where they lie in the box, and in
  /// the buffer that the box is packed from, or unpacked to.
  struct Box {
    Value begins, numRows;
    Value places;
    Value inBox; ///< null where rows lie in the box as they are counted
  };
  /// Allocates its tables.
  Box allocateBox();
  /// In a kernel, in one block: fills all but `places`. `emit(block, row)` is
  /// called for each block that begins at row `row`.
  void storeBox(const Box &box, llvm::function_ref<Value(Value)> rowsOf,
                llvm::function_ref<void(Value, Value)> emit = nullptr);
  /// Copies the rows of each `buffers`: from where they lie to the box, or
  /// back. Rows that would lie past `limit` are left out. A kernel of its own.
  void pack(const Box &box, ArrayRef<std::pair<Value, Value>> buffers);
  void unpack(const Box &box, ArrayRef<std::pair<Value, Value>> buffers,
              int64_t limit);

  /// The blocks that `rowAt(i, key)` names, for all i < `count`: a row of key
  /// `key`, or -1. Returns first row and number of rows, R×parts×2, with all
  /// rows in between. A kernel of its own.
  Value cover(Value count, llvm::function_ref<Value(Value, Value)> rowAt);

  /// Blocks that two ranks know of one another, and the tables of an exchange
  /// that moves the rows of `mine` out of a box, or into one.
  struct Exchanged {
    Value mine, theirs; ///< R×parts×2
    Value shift;        ///< keys: from a row of `mine` to its row in the box
    KernelTables tables;
    Box box; ///< of theirs, with expert_major
    /// Whether a dispatch has kept them. What `send_row` names is checked
    /// against them where it is used.
    bool areKept = false;
  };
  /// Tells the ranks the blocks of `cover`: a kernel follows up on what they
  /// say. `boxIs` says whether rows go out of the box or into it.
  Exchanged exchange(Value mine, KernelTables::Field boxIs, int64_t capacity);
  /// The same of a dispatch that has kept its blocks (coll_s10): ranks tell one
  /// another nothing, and the host waits for nothing.
  Exchanged adopt(Value peerBlocks, Value peerRows, KernelTables::Field boxIs,
                  int64_t capacity);
  /// A table of blocks: R×parts×2.
  Value allocateBlocks();
  /// Allocates all that `layOut` fills.
  Exchanged allocate(Value mine, Value theirs, KernelTables tables);
  /// In a kernel, in one block: fills all but the blocks themselves.
  void layOut(Exchanged &known, KernelTables::Field boxIs);
  /// The row in the box of `row` of key `key`; -1 for -1.
  Value rowInBox(const Exchanged &known, Value row, Value key);

private:
  void copy(const Box &box, ArrayRef<std::pair<Value, Value>> buffers,
            bool toBox, int64_t limit);
  Value findBlock(const Box &box, Value row);
  Value sumOfParts(Value table, Value rank);
  std::pair<Value, Value> blocksOf(Value rank);
  void seal(Value mine);
  void checkPairRows(Value table);
  void storeUnlessFine(Value table, Value value);
  void copyKept(Value peerBlocks, int64_t side, Value table);
  Value checkRow(const Exchanged &known, Value row, Value isRow, Value block);
  void checkBlocks(Value theirs, int64_t capacity);
  void checkBlock(Value table, Value block, Value limit, llvm::StringRef text,
                  bool tellsErrors);
  /// Whether blocks of up to `capacity` rows may be more than tables have room
  /// for.
  bool mayBeTooMany(int64_t capacity) const;
  void checkSum(Value table, Value most);
  void coverKey(Value mine, Value partial, Value key, Value count,
                llvm::function_ref<Value(Value, Value)> rowAt);

  KernelMessages &b;
  bool isExpertMajor;
  ExpertPlacement placement;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELBLOCKS_H
