//===- DispatchRows.h - rows of a dispatch, in a kernel --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHROWS_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHROWS_H

#include "DispatchTables.h"

namespace mlir::moe {

/// What the kernels of a dispatch have in common: they count the rows of this
/// rank and put each row to its place. A subclass says where rows begin, and
/// what ranks tell one another. Each block has a contiguous range of the
/// tokens, unless subgroups take them one by one.
///
/// Rows are numbered per key in the order of tokens, whatever the order in
/// which threads look at them. How far the numbers reach depends on the number
/// of tokens:
///
/// - Few tokens (`isReplicated`): every block looks at all tokens and so knows
///   all counts of this rank. Blocks need not meet.
/// - Many: blocks share the tokens out, and each learns what the others have
///   counted.
///
/// Where keys are ranks, a lane looks at a token for all of them; votes make
/// masks of the tokens that have a row, 32 in a chunk. A block that knows the
/// masks of all chunks needs nothing else of the other blocks: the bits before
/// a row's, and those of earlier chunks, are its number. So blocks post masks
/// to each other and do not meet (like the states of a decoupled look-back;
/// Merrill and Garland, "Single-pass Parallel Prefix Scan with Decoupled
/// Look-back", 2016).
///
/// Where keys are experts and tokens few (`marksTokens`), a bit per expert and
/// token says who has a row. With many tokens a subgroup looks at all tokens of
/// a block for one expert, 32 at a time; rows are numbered within the block,
/// and blocks meet.
class DispatchRows : public DispatchTables {
protected:
  using DispatchTables::DispatchTables;

  //===--------------------------------------------------------------------===//
  // What a subclass decides
  //===--------------------------------------------------------------------===//

  /// What rows are put into, of output `kind`: symmetric memory, or memory of
  /// this rank from which they are sent on.
  virtual Value rowTarget(Output kind) { return op.getOutput(kind); }
  /// Whether rows are placed by `start`.
  virtual bool usesStarts() { return true; }
  /// Where the counted rows of `token` with `key` start.
  virtual Value firstRow(Value token, Value key) { return startOf(token, key); }
  /// Rows that a target has room for.
  virtual int64_t rowLimit() = 0;
  /// Where the row goes that `reuse` calls `row`; -1 for none.
  virtual Value placeOfReused(Value row, Value key) { return row; }
  /// Whether something is noted of rows that `reuse` places, and what.
  virtual bool notesReused() { return false; }
  virtual void noteReused(Value peer, Value row) {}
  /// When this block has posted the masks of its chunks.
  virtual void afterPosting() {}
  /// Whether ranks copy rows that they receive to their other places.
  virtual bool expandsRows() { return false; }
  /// What else is in the shared memory of a block, in entries of tables.
  virtual int64_t numOtherEntries() { return 0; }
  /// Subgroups of a block that put rows: the first ones.
  virtual int64_t numPutters() { return b.numSubgroups(); }

  /// What subgroup `member` of a team does for `token`: on each of the first
  /// `lanes` lanes a row of rank `peer` that it is for, or -1.
  struct Put {
    Value token, member, rotation, row, peer;
    int64_t lanes;
  };
  /// Puts its part of the row, and of the scales.
  virtual void putRow(const Put &put);

  /// What rows for rank `peer` are put into.
  Value rowTarget(Output kind, Value peer);

  //===--------------------------------------------------------------------===//
  // Memory
  //===--------------------------------------------------------------------===//

  void allocateNumbering();

  //===--------------------------------------------------------------------===//
  // Steps
  //===--------------------------------------------------------------------===//

  /// Puts no row unless `condition` holds, which is the same on all threads of
  /// the block.
  void leaveTokensUnless(Value condition);

  // DispatchCount.cpp
  void count();
  void meetBlocks();
  /// Rows of the first `blocks` blocks of this rank with key `key`; on all
  /// lanes of a subgroup.
  Value countOfBlocks(Value key, Value blocks);
  /// Rows of this rank with key `key`, in the block that publishes them.
  Value totalOf(Value key);
  void noteStatus();
  /// Whether `status` tells of an error; in the first block.
  Value hasFailed();
  /// In the first block: adds up the counts of all and stores those of each
  /// rank in `n_tokens_to_rank`.
  void storeTotals();

  // DispatchPut.cpp
  void putRows();

private:
  // DispatchCount.cpp
  void routeTokens();
  void countByExpert();
  /// The experts of a token, checked (placement_s2), and whether all are fine;
  /// -1 for none.
  std::pair<SmallVector<Value>, Value> loadExperts(Value token, Value isToken);
  /// Whether one of them is on rank `peer`.
  Value hasExpertOf(ValueRange experts, Value peer);

  // DispatchChunks.cpp
  void countInChunks();
  void collectChunks();
  Value loadMask(Value chunk, Value key);
  void storeMask(Value mask, Value chunk, Value key);
  /// The bit (i32) of `token` in the mask of its chunk.
  Value bitOf(Value token);
  void addUpChunks();
  void addUpChunksByThreads();
  void addUpChunksByLanes();
  /// Whether `token` has a row with key `key`; how many tokens before it have.
  std::pair<Value, Value> findInChunks(Value token, Value key);

  // DispatchMarks.cpp
  void markTokens();
  /// Tokens with key `key`; of those, the ones before `token`.
  Value numMarked(Value key);
  Value numMarkedBefore(Value token, Value key);

  // DispatchPut.cpp
  void putTokens();
  void copyToken(Value token, Value member);
  void putTokensInBulk();
  void fetchToken(Value token, Value slot);
  /// Finds the rows of a token, one per lane, and writes what goes with them;
  /// then `put` puts the rows themselves.
  void putToken(
      Value token, Value member,
      llvm::function_ref<void(Value row, Value peer, int64_t lanes)> putRows);
  std::pair<Value, Value> findRow(Value token, Value slot);
  /// Where the counted rows with `key` start, in the block that counted
  /// `token`.
  Value startOf(Value token, Value key);
  std::pair<Value, Value> findReusedRow(Value token, Value slot);
  std::pair<Value, Value> loadInLanes(Value token, Value isWriter);
  std::pair<Value, Value> mergeInLanes(Value own, Value ownWeight);
  void putMetadataOfToken(Value token, Value row, Value base, int64_t lanes,
                          Value expert, Value weight);

protected:
  //===--------------------------------------------------------------------===//
  // Schedule
  //===--------------------------------------------------------------------===//

  /// Whether every block counts all tokens: at most one for each thread, or
  /// two where tokens are not shared out in any case and other ranks wait for
  /// the counts. More take longer than to learn of what other blocks count.
  bool isReplicated() {
    if (marksTokens())
      return true;
    int64_t perThread = isOneRound() && !isSlab() ? 2 : 1;
    return countsInChunks() && static_cast<int64_t>(op.getTokenBound()) <=
                                   perThread * b.launchShape().threads;
  }
  bool postsMasks() { return countsInChunks() && !isReplicated(); }
  /// Whether a thread adds up the counts of few chunks, and so need not meet
  /// others to use the sum.
  bool addsUpByThreads() {
    return countsInChunks() && isReplicated() && numChunks() <= 4;
  }
  /// Whether a bit says for each key and token who has a row.
  bool marksTokens() {
    return keyIsExpert() && !op.isReuse() && !movesInBulk() &&
           fitsMarks(op.getTokenBound(), numKeys(), b.launchShape().threads);
  }
  int64_t wordsPerKey() { return numChunks(); }
  int64_t maxSubgroups() { return b.launchShape().blocks * b.numSubgroups(); }
  int64_t numShares() {
    return static_cast<int64_t>(op.getTokenBound()) * b.launchShape().team;
  }
  /// Whether no subgroup has more than one share of a token.
  bool isOneRound() { return numShares() <= maxSubgroups(); }
  /// Whether subgroups take shares of tokens one by one, so that fast ones get
  /// more.
  bool sharesOutTokens() {
    if (movesInBulk() || isOneRound() || !b.canTake(numShares()))
      return false;
    return op.isReuse() || countsInChunks() || sharesStarts();
  }
  /// Whether any block can find the rows of any token, though they are numbered
  /// within the blocks: all blocks' starts are in memory. What it takes to meet
  /// once more pays with some tokens per subgroup, and in any case where ranks
  /// expand rows in the order in which they come.
  bool sharesStarts() {
    if (!keyIsExpert() || op.isReuse() || movesInBulk() || marksTokens())
      return false;
    if (expandsRows())
      return !isOneRound();
    return static_cast<int64_t>(op.getTokenBound()) >=
           getSharedTokensByExpert(b.launchShape().blocks) * maxSubgroups();
  }
  /// Whether rows are numbered by masks of chunks of tokens.
  bool countsInChunks() { return !op.isReuse() && !keyIsExpert(); }
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
    // Its stages, and their counters.
    int64_t bytes = copierBytes() + 8 * numStages();
    return std::clamp<int64_t>(kStageBytes / bytes, 1, b.numSubgroups());
  }
  /// Groups of 32 tokens, each counted by a subgroup.
  int64_t numChunks() {
    return llvm::divideCeil(static_cast<int64_t>(op.getTokenBound()),
                            kSubgroupSize);
  }
  /// What is counted per chunk: rows for each rank, tokens with errors.
  int64_t numChunkKeys() { return b.numRanks() + 1; }

  Value first, end;  ///< this block's tokens
  Value tokensToPut; ///< when blocks have none of their own
  Value epoch;
  Value barrierCounter;
  Value rowNumber;   ///< like send_row: a row's number among those counted
  Value blockCounts; ///< keys×blocks: rows of each block
  Value posted;      ///< (R + 1)×chunks words: the masks of each chunk
  Table chunkMask;   ///< chunks×(R + 1): a bit per token that has a row
  Table chunkStart;  ///< (chunks + 1)×(R + 1): rows before each chunk
  Value marks;       ///< keys×words: a bit per token that has a row
  Value tickets;     ///< of shares that subgroups take one by one
  Value maskScratch, chunkScratch;
  Value ring, full; ///< stages of this subgroup, arrivals at all stages
  /// What this block's rows depend on.
  SmallVector<Value> conditions;
  Value status; ///< not 0 after an error of this rank
  /// Whether this block has met the others, or has their masks; null if it
  /// needs neither.
  Value haveMet;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHROWS_H
