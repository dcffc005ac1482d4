//===- CombineKernel.h - moe.combine as a kernel ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_COMBINEKERNEL_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_COMBINEKERNEL_H

#include "CombinePartials.h"

namespace mlir::moe {

/// A combine between ranks that share memory, as one persistent kernel: rows
/// are read from the ranks that hold them or, when the op pushes, from slots of
/// this rank that they are put into. With expert_major it is the sums of the
/// rows of each rank that are put.
class CombineKernel : public CombineSum {
public:
  CombineKernel(CombineOp op, KernelBuilder &b);

  void lower();

private:
  Value rowsOf(Value peer) override {
    return symm::PeerOp::create(b, source, peer);
  }
  Value weightsOf(Value peer) override {
    return symm::PeerOp::create(b, sourceWeights, peer);
  }
  void waitForRows() override;
  bool rowsArrive() override { return isPush(); }
  void waitForListed(Value token, RowList &list) override;
  void waitForTerms(Value token, const RowList &list) override;
  SmallVector<Value> ownTerms(ValueRange columns) override;
  int64_t numOwnVectors() override;
  void reduceToken(Value token, Value member, const RowList &list) override;

  // CombinePush.cpp
  bool isPush() { return op.getAlgorithm() == Algorithm::push; }
  /// Shares that the rows, or the sums, of a rank are put in.
  int64_t numShares(const PutShape &shape);
  PutShape choosePutShape();
  void makeSlots();
  /// The slot, at its rank, of a token's row that rank `holder` has.
  Value slotOf(Value token, Value holder);
  void findRowsOfSenders();
  /// From the list of a token's rows that of the ranks that have some.
  void listRanks(RowList &list);
  /// In one round: that of the other ranks; defines `ownRows` and `ownPlace`.
  void listOthers(RowList &list);
  void waitForFlags(Value token, const RowList &list);
  Row ownRow();
  void copyOwnRow(Value token, Value member);
  void putAndReduce();
  void putRows(Value haveBegun);
  void putRow(Value row, Value sender, Value member);
  /// The token of rank `sender` that a row is of, and whether there is one.
  std::pair<Value, Value> checkSource(Value row, Value sender);
  void checkOwnSources();
  /// Reduces the shares of a subgroup, from `first` on.
  void reduceOwnShares(KernelBuilder::FirstItem first, ValueRange ahead);

  /// What rows and weights are read from, of each rank: those of the op, or
  /// slots of this rank.
  Value source, sourceWeights;
  Value ready;
  PutShape puts;
  /// Of a push: what is put; flags of the slots; tickets of what this rank
  /// puts, null without; and of each sender the first of its rows, their
  /// number, and the most.
  Value y, arrived, putTickets, starts, mostRows;
  RowList ownRows; ///< of the token that is added up, those of this rank
  Value holders;   ///< ranks that put rows of it, a lane each
  /// What puts sums instead of rows: with expert_major.
  std::optional<CombinePartials> partials;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_COMBINEKERNEL_H
