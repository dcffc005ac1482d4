//===- CopyReceivedRows.cpp - rows that leave symmetric memory -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CopyReceivedRows.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
/// Which rows of what an op receives are valid, as `symm.copy_rows` says it.
struct ValidRows {
  Value counts;
  Value offsets;
  IntegerAttr every;
};
} // namespace

/// None when all rows have to be copied.
static std::optional<ValidRows> findValidRows(CollectiveOpInterface op) {
  if (auto exchange = dyn_cast<AllToAllvOp>(op.getOperation()))
    return ValidRows{exchange.getOuts()[1], Value(), IntegerAttr()};
  auto dispatch = dyn_cast<DispatchOp>(op.getOperation());
  if (!dispatch || dispatch.isReuse())
    return std::nullopt;
  using Output = DispatchOp::Output;
  switch (dispatch.getLayout()) {
  case Layout::rank_major:
    return ValidRows{dispatch.getOutput(Output::TokensFromRank), Value(),
                     IntegerAttr()};
  case Layout::slab:
    // Slabs of no rows: there is nothing to leave out.
    if (dispatch.getTokenBound() == 0)
      return std::nullopt;
    return ValidRows{
        dispatch.getOutput(Output::TokensFromRank), Value(),
        Builder(op.getContext()).getI64IntegerAttr(dispatch.getTokenBound())};
  case Layout::expert_major:
    return ValidRows{dispatch.getOutput(Output::ExpertCounts),
                     dispatch.getOutput(Output::ExpertOffsets), IntegerAttr()};
  }
  llvm_unreachable("unknown layout");
}

static bool hasContiguousRows(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  return type.hasStaticShape() &&
         type.areTrailingDimsContiguous(type.getRank());
}

void moe::copyReceivedRows(CollectiveOpInterface op,
                           ArrayRef<StagedBuffer> staged, OpBuilder &builder) {
  Location loc = op.getLoc();
  std::optional<ValidRows> valid = findValidRows(op);
  // Counts that the caller of the function keeps in a view of something larger
  // are no operands of the op.
  auto isDense = [](Value memref) {
    return !memref ||
           cast<MemRefType>(memref.getType()).getLayout().isIdentity();
  };
  bool hasCounts = valid && isDense(valid->counts) && isDense(valid->offsets);
  SmallVector<Value> sources, targets;
  for (const StagedBuffer &out : staged) {
    if (hasCounts && hasContiguousRows(out.buffer)) {
      sources.push_back(out.symmetric);
      targets.push_back(out.buffer);
    } else {
      memref::CopyOp::create(builder, loc, out.symmetric, out.buffer);
    }
  }
  if (!sources.empty())
    symm::CopyRowsOp::create(builder, loc, sources, targets, valid->counts,
                             valid->offsets, valid->every);
}
