//===- DispatchPackKernel.h - rows of a dispatch, packed --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_DISPATCHPACKKERNEL_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_DISPATCHPACKKERNEL_H

#include "../MoEProtocols/DispatchRows.h"
#include "KernelBlocks.h"

namespace mlir::moe {

/// The kernel that counts the rows of this rank and packs them, with what goes
/// with each, into an outbox: a buffer for each output, in which the rows of
/// each key follow one another, in the order of keys; with padding those of
/// each rank have a place of their own. `send_row` is the row in the outbox
/// afterwards. With `reuse`, `send_row` is given and nothing
/// counted. The kernel waits for no other rank.
class DispatchPackKernel : public DispatchRows {
public:
  DispatchPackKernel(DispatchOp op, KernelMessages &b)
      : DispatchRows(op, b), messages(b) {}

  /// Begins the op: checks its operands.
  using DispatchRows::prepare;
  Value getNumTokens() { return numTokens; }

  void allocateOutbox(Value numRows);
  /// Rows that `countAndPack` needs room for.
  Value numOutboxRows();
  /// Returns the counts of this rank per rank or, with expert_major, expert:
  /// 1×keys; -1 after an error.
  Value countAndPack();
  /// With `reuse`: the blocks of this rank's rows on the others.
  Value cover(KernelBlocks &blocks);
  void packReused(KernelBlocks &blocks, KernelBlocks::Exchanged &known);
  /// With `reuse`: fills the rows that are not in the blocks of others here.
  void padReused(KernelBlocks &blocks, Value theirs);

  /// What is packed of an output.
  using DispatchRows::rowTarget;
  Value rowTarget(Output kind) override { return outbox.lookup(kind); }

private:
  int64_t rowLimit() override;
  /// Most rows that a token has.
  int64_t rowsPerToken();
  /// Of the rows of `rank`: [first, end).
  std::pair<Value, Value> keysOf(Value rank);
  Value placeOfReused(Value row, Value key) override;

  void launch(llvm::function_ref<void()> body);
  void storeCounts();
  void placeInOutbox();

  KernelMessages &messages;
  llvm::SmallDenseMap<Output, Value> outbox;
  Value sentCounts; ///< 1×keys
  /// With `reuse`: the blocks of this rank's rows.
  KernelBlocks *reusedBlocks = nullptr;
  KernelBlocks::Exchanged *reused = nullptr;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_DISPATCHPACKKERNEL_H
