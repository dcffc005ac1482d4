//===- DispatchPlaceKernel.h - places of the rows of a dispatch -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_DISPATCHPLACEKERNEL_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_DISPATCHPLACEKERNEL_H

#include "../MoEProtocols/DispatchTables.h"
#include "KernelBlocks.h"

namespace mlir::moe {

/// The kernel that follows up on the counts of all ranks: it fills the tables
/// of the exchange, turns `send_row` from rows of the outbox into rows on their
/// ranks, stores what counts tell of the results, and fills empty rows.
class DispatchPlaceKernel : public DispatchTables {
public:
  /// `all` has the counts of all ranks: R×R or, with expert_major, R×E.
  DispatchPlaceKernel(DispatchOp op, KernelMessages &b, Value numTokens,
                      Value all)
      : DispatchTables(op, b), messages(b) {
    this->numTokens = numTokens;
    this->all = all;
  }

  /// `inbox` is that of the rows that come, where they need one.
  void lower(KernelTables &tables, KernelBlocks &blocks,
             const KernelBlocks::Box &inbox);
  /// A kernel for what comes after the exchange: fills the rows that no token
  /// was sent to.
  void fillEmptyRows();

private:
  void allocate();
  /// Whether all ranks are fine, and have room for their rows.
  Value place();
  void placeInSlabs();
  /// In the first block.
  void storeTables(KernelTables &tables);
  void checkPairs(Value areFine);
  void storeInbox(KernelBlocks &blocks, const KernelBlocks::Box &inbox);
  /// Keeps the blocks of this dispatch for later ops (dispatch_s16).
  void keepBlocks(KernelBlocks &blocks, const KernelBlocks::Box &inbox,
                  KernelBlocks::Exchanged &kept, KernelTables &tables);
  void storePlaces(KernelBlocks &blocks, const KernelBlocks::Box &inbox);
  void finishSendRow(Value areFine);
  /// Of `rows` rows from `start` on, those that have room.
  Value keptOf(Value start, Value rows);
  Value sumOverExpertsOf(Value sender, Value rank);
  Value rowsBetween(Value sender, Value receiver);

  KernelMessages &messages;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_DISPATCHPLACEKERNEL_H
