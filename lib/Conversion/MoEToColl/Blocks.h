//===- Blocks.h - rows of pairs of ranks ---------------------- -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_BLOCKS_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_BLOCKS_H

#include "CollBuilder.h"

namespace mlir::moe {

/// The rows of a dispatch lie on the rank that receives them in *blocks*: those
/// of one sender, and with expert_major of one expert, follow one another. A
/// table of this class has the first row and the number of rows of each block
/// between this rank and all others: of this rank's rows on the others, or of
/// theirs here. With expert_major a rank has as many blocks with each other one
/// as it may own experts, otherwise one.
class Blocks {
public:
  /// Blocks without rows.
  Blocks(CollBuilder &b, int64_t numParts);

  /// A buffer with the rows of all blocks, one block behind the other, in the
  /// order of ranks and experts. Where it is and what is in it, others say.
  struct Box {
    Value shift; ///< R×P: what brings a row of a block to its row in the box
    CollBuilder::Table table; ///< the rows of each rank
    Value numRows;
  };

  /// Block `part` of `rank` has `count` rows from `first` on; what lies past
  /// `capacity` is left out where that is given.
  void set(Value rank, Value part, Value first, Value count,
           std::optional<int64_t> capacity);
  /// Extends block `part` of `rank` so that it has `row`. When all rows are
  /// there, `endCover` completes the table.
  void cover(Value rank, Value part, Value row);
  void endCover();

  /// Copies the table to side `side` of `peerBlocks` (dispatch_s16).
  void copyTo(Value peerBlocks, int64_t side) const;
  /// Tells all ranks these blocks; returns theirs, whose rows are checked
  /// against `capacity`.
  Blocks exchange(int64_t capacity);

  /// With one block for each rank: its rows where they are.
  CollBuilder::Table inPlace();
  /// A box for the rows. Too many of them for an exchange are refused. With
  /// padding there is room for the same number of rows of each rank.
  Box box(bool mayBeTooMany);
  /// The row in `box` of `row` of block `part` of `rank`.
  Value rowInBox(const Box &box, Value rank, Value part, Value row);

  /// `body(rank, part, first, end)` for all blocks.
  void forEach(llvm::function_ref<void(Value, Value, Value, Value)> body) const;
  /// Copies all blocks of `source` to their place in `target`, a box; and back.
  void pack(const Box &box, Value source, Value target);
  void unpack(const Box &box, Value source, Value target);

private:
  Blocks(CollBuilder &b, int64_t numParts, Value table)
      : b(b), numParts(numParts), table(table) {}

  /// Fills `box.shift` of `rank`, whose rows are in the box from `start` on;
  /// returns their end.
  Value shiftParts(const Box &box, Value rank, Value start);
  Box paddedBox(Box box);

  Value load(Value rank, Value part, int64_t field) const;
  void store(Value value, Value rank, Value part, int64_t field);

  CollBuilder &b;
  int64_t numParts;
  Value table; ///< R×P×2: first row, number of rows
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_BLOCKS_H
