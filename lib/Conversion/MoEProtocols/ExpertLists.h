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
/// A thread looks at an entry, a slot of a row, and sets the bit of the row in
/// the mask of its expert. A row has an expert once, so the masks do not depend
/// on the order of threads, and the bits below a row's are the rows of the
/// expert before it.
///
/// - Few rows (`isReplicated`): every block makes the masks of all rows, and
///   lists those of its share. Blocks need not meet.
/// - Many: the rows are cut into parts, which blocks share out. Each makes the
///   masks of its part and tells the others how many rows each expert has in
///   it. Blocks meet and add up the counts of lower parts.
///
/// Masks of more experts than fit shared memory are made for a range of experts
/// at a time. What masks are made of at once, a part and a range, is a *tile*.
/// A block has one, unless experts are very many, rows too many for a mask, or
/// blocks fewer than planned.
class ExpertLists : public DispatchTables {
public:
  ExpertLists(DispatchOp op, KernelBuilder &b) : DispatchTables(op, b) {}

  /// Allocates its memory, outside of the kernel. Blocks that have waited for
  /// rows for one another have to `meet` before they build.
  void allocate(bool meetsBefore);
  /// What does not depend on the rows. The stages of the block have to be free:
  /// the lists take `numStageBytes` of them, from the first on.
  void begin();
  /// Whether all blocks of the kernel have come here.
  Value meet();
  /// Writes the outputs. `received` is how many rows each rank has sent.
  /// Nothing is listed unless `areThere`, which is the same on all threads of
  /// the block: whether the rows of this rank have come.
  void build(Value areThere, Value received);

  int64_t numStageBytes() { return 4 * (numMaskWords() + numPartialSums()); }
  /// Entries of its tables that are in the shared memory of a block.
  int64_t numSharedEntries() {
    return numTableEntries() <= kMaxTableEntries ? numTableEntries() : 0;
  }

private:
  /// Tables that are larger are not in shared memory.
  static constexpr int64_t kMaxTableEntries = 1024;

  //===--------------------------------------------------------------------===//
  // Sizes
  //===--------------------------------------------------------------------===//

  int64_t numExperts() { return placement.maxPerRank(); }
  /// Four experts of a range have their counts in one word: expert i of it is
  /// byte i / quads of word i % quads, and so threads side by side look at
  /// experts side by side.
  int64_t numQuads();
  int64_t rangeSize() { return 4 * numQuads(); }
  int64_t numRanges() { return llvm::divideCeil(numExperts(), rangeSize()); }
  /// With those that fill up the last word.
  int64_t numPaddedExperts() { return numRanges() * rangeSize(); }
  bool isReplicated();
  /// Of the rows; a multiple of the blocks.
  int64_t numParts();
  /// Rows of a mask, at most.
  int64_t rowsPerMask();
  int64_t wordsPerMask();
  int64_t numMaskWords() { return wordsPerMask() * rangeSize(); }
  /// Entries of a tile that a thread looks at.
  int64_t entriesPerThread();
  /// Threads that add up the counts of parts for the same experts.
  int64_t numAdders();
  int64_t numPartialSums();
  int64_t numTableEntries();

  //===--------------------------------------------------------------------===//
  // Steps
  //===--------------------------------------------------------------------===//

  /// What masks are made of: the received rows `first` to `last`, of the
  /// experts of this rank from `firstExpert` on.
  struct Tile {
    Value part, firstExpert, first, last;
  };
  Tile tileAt(Value number);
  Value firstOfPart(Value part);

  /// An entry that a thread looks at.
  struct Entry {
    Value bit;         ///< number of its row in the tile
    Value local, mask; ///< its expert, on this rank and in the range
    Value row, weight;
    Value isThere; ///< whether its expert is one of the tile
    Value isOwn;   ///< whether this block lists it
  };
  using Entries = SmallVector<Entry>;
  Entries loadEntries(const Tile &tile);

  void countReceived(Value areThere, Value received);
  /// The row of the `item`-th one that has been received.
  Value rowAt(Value item);
  void placeGroups();
  void fillGaps();
  void storeNone(Value place);

  // ExpertMasks.cpp
  void clearMasks();
  void markEntries(const Entries &entries);
  /// The word of an expert of the range, with the bits of 32 rows.
  Value loadMask(Value word, Value expert);
  Value countMarked(Value expert);
  Value countMarkedBelow(Value bit, Value expert);
  void addUpAll();
  void storeCounts(const Tile &tile);
  void addUpParts();
  void sumPart(Value word, Value adder);
  void passOver(const Tile &tile);
  void writeEntries(const Entries &entries);

  Value barrierCounter;
  Value partCounts; ///< parts×words: rows of four experts each
  Value startScratch, totalScratch, offsetScratch, beginScratch;
  Value masks;       ///< words×experts of a range: a bit for each row
  Value partialSums; ///< (lower, all)×adders×experts
  Table starts;      ///< experts: rows in lower parts
  Table totals;      ///< experts: their rows
  Table offsets; ///< experts + 1: where their groups begin, and the last one's
                 ///< end
  Table begins;  ///< slab: ranks: rows received from lower ones
  Value firstPart, endPart; ///< of this block
  Value numItems;           ///< rows that have been received
  Value length;             ///< of the lists; 0 when nothing may be written
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_EXPERTLISTS_H
