//===- DispatchKernel.h - moe.dispatch as a kernel --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHKERNEL_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHKERNEL_H

#include "../MoEProtocols/DispatchRows.h"
#include "../MoEProtocols/ExpertLists.h"
#include "DispatchExpansion.h"

namespace mlir::moe {

/// The protocol of a dispatch between ranks that share memory, as one
/// persistent kernel: ranks put their counts and their rows into each other's
/// memory.
class DispatchKernel : public DispatchRows {
public:
  DispatchKernel(DispatchOp op, KernelBuilder &b) : DispatchRows(op, b) {}

  void lower();

private:
  bool usesStarts() override { return !isSlab(); }
  Value firstRow(Value token, Value key) override {
    return isSlab() ? firstSlabRow() : DispatchRows::firstRow(token, key);
  }
  int64_t rowLimit() override { return capacity; }
  bool notesReused() override { return padding.has_value(); }
  void noteReused(Value peer, Value row) override {
    padding->noteRow(peer, row, epoch);
  }
  void afterPosting() override;
  bool expandsRows() override { return op.isExpand() && b.numRanks() > 1; }
  int64_t numOtherEntries() override {
    return (lists ? lists->numSharedEntries() : 0) +
           (countsAreFlags() ? b.numRanks() * numExchanged() : 0);
  }
  int64_t numPutters() override;
  void putRow(const Put &put) override;

  void allocate();
  /// One subgroup of the block does. Where blocks wait for each other's masks,
  /// after it has posted its own: the others would not find out which rank has
  /// not come.
  void waitForRanks();
  /// Copies rows that have come to their other places.
  void expandRows();
  /// Whether all is as this block's rows, and those of other ranks, need it.
  Value areFine();
  void complete();
  void listRows();

  // DispatchKernelPad.cpp
  /// With `reuse`: fills the rows that no rank has put.
  void padByRuns();

  // DispatchSlabs.cpp
  void sendSlabCounts();
  void receiveSlabCounts();

  // DispatchKernelCounts.cpp
  void publishCounts();
  void storeCounts();
  void sendCounts();
  void receiveCounts();
  /// What this rank tells the others of `key`, in the first block.
  Value countOf(Value key);
  /// Whether counts of rows that are not slabs are the values of flags as well:
  /// where a thread waits for two at most. Each wait takes a way to memory.
  bool countsAreFlags() {
    return !op.isReuse() && !isSlab() &&
           b.numRanks() * numExchanged() <= 2 * b.launchShape().threads;
  }
  /// Bits of a flag that hold a count, and what says that there is none.
  int64_t countBits() { return llvm::Log2_64_Ceil(op.getTokenBound() + 2); }
  int64_t noCount() { return (int64_t(1) << countBits()) - 1; }
  Value countEpoch() {
    return arith::ShLIOp::create(b, epoch, b.i64(countBits()));
  }

  // DispatchKernelPlace.cpp
  void place();
  void placeInExpertOrder();
  void addLowerBlocks() override;
  /// Of this rank's part of a slab.
  Value firstSlabRow() { return b.mul(b.me(), b.index(op.getTokenBound())); }

  Value runs;
  Value arrived, done;          ///< flags
  Value slabCounts, countFlags; ///< flags that are counts; null unless used
  /// Whether the ranks have arrived that this thread has waited for.
  Value haveArrived;
  std::optional<DispatchExpansion> expansion;
  std::optional<ExpertLists> lists;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHKERNEL_H
