//===- CombinePartials.h - sums of ranks that are put -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_COMBINEPARTIALS_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_COMBINEPARTIALS_H

#include "../MoEProtocols/CombineSum.h"
#include "PutShape.h"

namespace mlir::moe {

/// The side of the ranks that hold rows in a combine by expert that pushes:
/// each adds up the rows that it has of a token, and puts the sum into a slot
/// at the token's rank.
///
/// Rows do not say whose they are, since those between groups are unspecified.
/// So the rank of a token asks for them: it tells each rank which rows to add,
/// in the order in which to add them. A row number travels as the value of a
/// signal, with the epoch in its upper half: it needs nothing else to be there.
class CombinePartials : public CombineSum {
public:
  CombinePartials(CombineOp op, KernelBuilder &b);

  /// Slots and flags at the ranks of tokens, and what a token may have.
  struct Slots {
    Value rows;    ///< T_max * R partial sums
    Value arrived; ///< a flag per slot and member of a team
  };

  /// Before anything else but `groupSize`.
  void setShape(const PutShape &shape);
  /// Outside the kernel.
  void allocate();
  /// Tells all ranks which of their rows are those of this rank's tokens; on
  /// all threads.
  void ask(Value tokens, Value runEpoch);
  /// Learns how many tokens each rank has; on all threads, when all ranks have
  /// begun.
  void countTokens();
  /// Tokens of a rank that a subgroup looks at together.
  int64_t groupSize(const PutShape &shape);
  /// Puts what other ranks ask for. None is put unless `haveBegun`.
  void put(const Slots &slots, Value putTickets, Value haveBegun);

  /// Sums of this rank's rows of a token of its own, as they would be put; and
  /// the columns of one row.
  SmallVector<Value> sumRows(const RowList &list, ValueRange columns);
  SmallVector<Value> loadRow(Value row, ValueRange columns) {
    return loadRows(Row{Value(), row, y, Value()}, columns).front();
  }
  /// Vectors of 16 bytes that a lane loads together for a column of them.
  int64_t numSumVectors();

  static Value slotOf(KernelBuilder &b, Value token, Value holder) {
    return b.add(b.mul(token, b.index(b.numRanks())), holder);
  }

private:
  /// Rows of this rank that are added before the next ones are looked up.
  int64_t ownBatchSize();
  Value rowsOf(Value peer) override { return y; }
  Value weightsOf(Value peer) override { return op.getWeights(); }
  bool rowsArrive() override { return true; }

  bool isDynamic() { return op.getSendRow().getType().isDynamicDim(0); }
  void askFor(Value token, const RowList &list);
  /// The words of a rank's tokens: `rowsPerRank()` for each.
  Value wordOf(Value owner, Value token, Value place);
  /// A row that `owner` asks for, as it was sent; -1 where `isThere` is false.
  Value readWord(Value owner, Value token, Value place, Value isThere);
  Value tokensOf(Value owner);
  void putGroup(const Slots &slots, Value owner, Value first, int64_t size,
                Value member);
  void putToken(const Slots &slots, Value owner, Value token, Value member);

  PutShape puts;
  Value y;
  Value words;      ///< what other ranks ask for
  Value tokenWords; ///< how many tokens they have; null where all have T
  Value runBase;    ///< the epoch in the upper half of a word
  Value mostTokens; ///< of any rank
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_COMBINEPARTIALS_H
