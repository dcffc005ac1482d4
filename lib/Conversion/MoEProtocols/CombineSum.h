//===- CombineSum.h - sums of the rows of tokens, in a kernel ---*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COMBINESUM_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COMBINESUM_H

#include "CombineProtocol.h"
#include "KernelBuilder.h"

namespace mlir::moe {

/// What the kernels of a combine have in common: they add the rows of each
/// token up. A subclass says where rows lie, and when they may be read. Lane
/// `i` of a subgroup learns where the `i`-th row of a token lies, in the order
/// of combine_s1. Then the rows are added column by column, in f32 registers:
///
/// - With loads, a team of subgroups reads the columns of all rows from where
///   they lie.
/// - With bulk copies, one subgroup of a block brings the rows of the next
///   tokens into shared memory while teams of the others add those that are
///   there.
///
/// With `reduce = none` each slot is a token of its own, which has one row at
/// most: the sum of one row is the row. Only where a row is looked up, and by
/// what name an error calls it, is the token that the slot is of.
class CombineSum : public CombineProtocol {
protected:
  CombineSum(CombineOp op, KernelBuilder &b)
      : CombineProtocol(op, b), b(b), terms{element,
                                            element,
                                            numSlots(),
                                            !op.isExpertMajor(),
                                            static_cast<bool>(op.getWeights()),
                                            addsByRank()},
        sharers(b.launchShape().team) {}
  virtual ~CombineSum() = default;

  using Pred = ProtocolBuilder::Pred;

  /// What is added up: the rows of a token, unless a subclass has other terms.
  struct Terms {
    Type from, to; ///< element types of what is added, and of sums
    int64_t most;  ///< terms of a sum
    bool areFewer; ///< whether many sums have fewer
    bool haveWeights;
    bool areByRank; ///< whether those of a rank are added first (combine_s1)
  };
  /// Where the rows of a token lie, one lane each.
  struct RowList {
    Value count;
    Value row, peer;   ///< of this lane's row; row is -1 without one
    Value weight;      ///< null without weights
    Value begins = {}; ///< those of `findBegins`; null unless `areByRank`
    Value isOnly = {}; ///< whether it is a token's only row; null: with one row
    Value isNone = {}; ///< whether it has none at all; null: without one here
  };
  /// A row as all lanes see it.
  struct Row {
    Value isRow, row, data, weight;
  };

  //===--------------------------------------------------------------------===//
  // What a subclass decides
  //===--------------------------------------------------------------------===//

  /// What rows of rank `peer`, and their weights, are read from.
  virtual Value rowsOf(Value peer) = 0;
  virtual Value weightsOf(Value peer) = 0;
  /// Where the row lies there that `send_row` calls `row`; -1 for none. `key`
  /// is its rank (expert_major: expert).
  virtual Value placeOf(Value row, Value key) { return row; }
  /// Waits until the rows of all ranks may be read, and meets the block; on all
  /// threads.
  virtual void waitForRows() {}
  /// Whether the rows of a token come while others are added up; waits for
  /// those on the list.
  virtual bool rowsArrive() { return false; }
  virtual void waitForListed(Value token, RowList &list) {}
  /// The same for what a subclass can wait for later: called once for a token,
  /// when only the terms that are listed are missing.
  virtual void waitForTerms(Value token, const RowList &list) {}
  /// The terms, as they enter a sum, of rows that this rank has and that are
  /// not listed; behind `ownPlace` listed ones.
  virtual SmallVector<Value> ownTerms(ValueRange columns) { return {}; }
  /// Rows of that kind that are loaded together, as vectors of 16 bytes; 0
  /// where all rows are listed.
  virtual int64_t numOwnVectors() { return 0; }

  //===--------------------------------------------------------------------===//
  // Steps
  //===--------------------------------------------------------------------===//

  /// Defines `numTokens` and `out`. Returns what `out` is rows of, which
  /// `copyBack` takes to the op's buffer.
  Value prepare();
  /// Bytes of stages that a block needs.
  int64_t numStageBytes() {
    return movesInBulk() ? numStages() * stageBytes() : 0;
  }
  /// Whether subgroups take tokens by `tickets`.
  bool needsTickets() {
    return rowsArrive() || (!movesInBulk() && sharesOutTokens());
  }
  void reduce();

  /// Slots of a token in this sense, and most tokens.
  int64_t numSlots() { return op.returnsRows() ? 1 : op.getNumSlots(); }
  int64_t tokenBound() {
    return static_cast<int64_t>(op.getTokenBound()) *
           (op.returnsRows() ? op.getNumSlots() : 1);
  }
  static int64_t bytesOf(Type type) { return type.getIntOrFloatBitWidth() / 8; }
  int64_t elementBytes() { return bytesOf(terms.from); }
  /// Elements that one lane moves at a time: 16 bytes of what it loads or of
  /// what it stores, or as many as the alignment of rows allows.
  int64_t vectorLength();
  VectorType vectorOf(Type type) {
    return VectorType::get({vectorLength()}, type);
  }
  VectorType vectorType() { return vectorOf(terms.from); }
  VectorType sumType() {
    return VectorType::get({vectorLength()}, sumElement());
  }
  /// None when `token` is not below `end`.
  RowList listRows(Value token, Value end);
  /// Those append the rows that up to `lanes` lanes found to the list.
  void moveInOrder(RowList &list, Value row, Value owner, Value mask,
                   int64_t lanes);
  void moveByExpert(RowList &list, Value row, Value owner, Value isRow,
                    int64_t lanes);
  std::pair<Value, Value> lookUp(Value token, Value slot, Value isSlot);
  /// The weight of a row, which lies where the row does; null without weights.
  Value loadWeight(Value row, Value peer);
  Value loadWeight(Value row, llvm::function_ref<Value()> weights);
  // CombineColumns.cpp
  /// `body(columns)` for the first columns of this lane's vectors, `held` at a
  /// time, when subgroup `member` of `team` shares `length` columns with the
  /// others. Returns the columns of what is left; the last may be past the end.
  SmallVector<Value> forColumns(int64_t length, int64_t team, int64_t held,
                                Value member,
                                llvm::function_ref<void(ValueRange)> body);
  /// Vectors of a row that a lane has.
  int64_t numVectors();
  /// `body(columns)` for all columns of a row, `held` vectors at a time.
  void forAllColumns(int64_t held, Value member,
                     llvm::function_ref<void(ValueRange)> body);
  void forColumnsInTurn(int64_t held, Value member,
                        llvm::function_ref<void(ValueRange)> body);
  Value zeros() { return zerosOf(terms.from); }
  Value zerosOf(Type type);
  Value emptySum();
  /// The columns of a row as they enter a sum.
  Value termOf(Value columns, Value weight);
  /// `sum` and the columns of one more row.
  Value addColumns(Value sum, Value columns, Value weight);
  /// A mask of the rows of a token, of which each lane has one of rank `peer`:
  /// those, but the first, with which the rows of a rank begin.
  Value findBegins(Value peer, Value isRow);
  /// Sums of columns while rows of a rank are added up first (combine_s1).
  struct RankSums {
    SmallVector<Value> totals, partials;
  };
  RankSums emptyRankSums(size_t count);
  /// Adds the terms of row `i`. Where it begins a rank, the sums of the rank
  /// before it are added to those of ranks, and the terms start new ones.
  void addRow(RankSums &sums, Value begins, Value i, ValueRange terms);
  /// The sums of all ranks.
  SmallVector<Value> endRanks(const RankSums &sums);
  /// Rounds a sum.
  Value toColumns(Value sum);
  void storeColumns(Value token, Value column, Value columns);
  /// Whether a token with one row has the bits of that row (combine_s4).
  bool keepsBits() { return !op.getWeights() && isa<FloatType>(element); }
  /// The bits of a token's only row, where what is stored is wider than the
  /// row, or what is read is.
  Value convertBits(Value bits);

  // CombineLoads.cpp
  /// For what lanes load and add at a time.
  bool hasFewRegisters();
  /// Rows that are added before the next ones are looked up, at most.
  int64_t batchSize();
  /// Vectors that a lane holds of one of `rows` rows.
  int64_t numHeld(int64_t rows);
  /// Whether subgroups take shares of tokens one by one.
  bool sharesOutTokens() {
    int64_t shares = tokenBound() * b.launchShape().team;
    return shares > b.maxBlocks() * b.numSubgroups() && b.canTake(shares);
  }
  void reduceTokens();
  void reduceSharedOut(KernelBuilder::FirstItem first, ValueRange ahead);
  Value tokenOf(Value share);
  /// Row and rank of this lane's row of a token (i32), or what stands for none.
  SmallVector<Value> listAhead(Value token, Value end);
  /// The same, where most subgroups have no further token at their end.
  SmallVector<Value> listNext(Value token, Value end);
  void reduceListed(Value token, Value member, ValueRange ahead);
  virtual void reduceToken(Value token, Value member, const RowList &list);
  Row rowAt(const RowList &list, Value i);
  void reduceRows(Value token, Value member, const RowList &list, int64_t size);
  void reduceColumns(Value token, const RowList &list, int64_t size,
                     ValueRange columns, bool waits);
  /// Whether tokens with at most `rows` rows are stored as their rows are.
  bool storesBits(int64_t rows) {
    return rows == 1 && keepsBits() && terms.from == terms.to &&
           numOwnVectors() == 0;
  }
  SmallVector<SmallVector<Value>> loadRows(ArrayRef<Row> rows,
                                           ValueRange columns);
  /// Adds `size` rows from `base` on to the sums of the columns. `sums` has,
  /// for each column, the sum and the bits of the first row; with `areByRank`
  /// the sums of ranks, those of the rank whose rows are added, and the bits,
  /// each for all columns. `own` are the terms of `ownTerms`.
  SmallVector<Value> addBatch(const RowList &list, Value base, int64_t size,
                              ValueRange columns, ValueRange sums,
                              ValueRange own = {});
  /// `sum` and, where `isHere`, one more term.
  Value addWhere(Value isHere, Value sum, Value term);
  SmallVector<Value> addBatchByRank(const RowList &list, Value base,
                                    ArrayRef<Row> rows,
                                    ArrayRef<SmallVector<Value>> loaded,
                                    ValueRange sums);
  /// Sums of `count` columns without a row, as `addBatch` takes them.
  SmallVector<Value> emptySums(size_t count);
  /// The sum of column `i`, and the bits of its first row.
  std::pair<Value, Value> sumAndBits(ValueRange sums, size_t i);

  // CombineBulk.cpp
  /// Where the rows of consecutive tokens lie: a lane per token and slot.
  struct RowBatch {
    Value row, peer;
    Value place;  ///< of the row among those of its token
    Value mask;   ///< of the lanes that have a row
    Value weight; ///< null without weights
  };
  /// A stage with the rows of a token, for those who add them.
  struct Stage {
    Value slot, count;
    Value begins; ///< those of `findBegins`; null unless `addsByRank`
  };
  /// A place in the ring, and how often the ring has come round.
  struct Turn {
    Value slot, round;
  };
  /// Most rows of a token.
  int64_t maxRows() { return numSlots(); }
  int64_t batchTokens() { return kSubgroupSize / numSlots(); }
  int64_t numStages() { return std::max(b.launchShape().stages, kMinStages); }
  /// Parts that a row is moved in, so that all stages have room; 0 when there
  /// is no such number.
  int64_t numParts();
  bool movesInBulk() {
    return !rowsArrive() && b.launchShape().bulk &&
           numSlots() <= kSubgroupSize && numParts() > 0;
  }
  int64_t partLength() { return rowLength / numParts(); }
  int64_t stageBytes() { return maxRows() * partLength() * elementBytes(); }
  void reduceTokensInBulk();
  /// Loops that count turns of the ring, from its first place on.
  SmallVector<Value> startOfRing();
  Turn advance(Turn turn, Value count);
  RowBatch lookUpBatch(Value token, Value end);
  void bringTokens(Value first, Value end);
  /// Tokens whose rows are fetched at the same time.
  int64_t groupTokens();
  void bringTokensOfGroup(const RowBatch &batch, Value inBatch, Value count,
                          Value part, Turn turn);
  /// Subgroups that add the rows of a stage together.
  int64_t adders();
  void addTokens(Value first, Value end);
  void addStage(Value token, Value part, Value slot, Value member);
  /// Adds the columns of all rows of a stage and stores the sums.
  void addColumnsOfStage(Value token, Value part, const Stage &stage,
                         ValueRange columns);
  Value loadColumns(Value slot, Value row, Value column);
  SmallVector<Value> sumColumnsOfStage(const Stage &stage, ValueRange columns);
  SmallVector<Value> addRowOfStage(const Stage &stage, Value row,
                                   ValueRange vectors, ValueRange sums);

  KernelBuilder &b;
  Terms terms;
  int64_t sharers; ///< with loads: subgroups that add a token's columns up
  /// Whether it is a push, and rows are so few that all of them are put at the
  /// same time, and those of the rank itself are not put at all.
  bool isOneRound = false;
  Value out;      ///< of the op, or what takes its place: a row per token
  Value ownPlace; ///< of `ownTerms`, among those listed; -1 without them
  Value epoch;
  Value tickets;           ///< of shares that subgroups take one by one
  Value ring, full, empty; ///< stages; arrivals of their rows and readers
  Value counts, weights;   ///< of the rows in a stage, or of a sender
  Value peers;             ///< of the rows in a stage; null unless `addsByRank`
  /// Of the subgroup that brings rows: a lane's token in a batch, and the slot.
  Value laneToken, laneSlot;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COMBINESUM_H
