//===- DispatchVerifier.cpp - constraints of moe.dispatch -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollectiveVerifier.h"

using namespace mlir;
using namespace mlir::moe;

static bool isFloat8(Type type) {
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() == 8;
}

/// dispatch_c10, dispatch_c11 and the operands of `reuse`.
static LogicalResult verifyRouting(DispatchOp op) {
  // dispatch_c11
  if (op.isReuse() == static_cast<bool>(op.getTopkIdx()) ||
      op.isReuse() == static_cast<bool>(op.getTopkWeights()))
    return op.emitOpError(
        "expects either 'topk_idx' and 'topk_weights' or 'reuse'");
  if (!op.isReuse())
    return success();
  unsigned expected = op.isExpertMajor() ? 2 : 1;
  if (op.getReuse().size() != expected)
    return op.emitOpError("expects 'reuse' to be (")
           << (op.isExpertMajor() ? "send_row, topk_idx" : "send_row")
           << ") with layout " << stringifyLayout(op.getLayout()) << " ("
           << op.getReuse().size() << " given)";
  for (auto [index, value] : llvm::enumerate(op.getReuse())) {
    auto type = dyn_cast<ShapedType>(value.getType());
    bool isIdx = index == 1;
    if (!type || !type.hasRank() || type.getRank() != 2 ||
        !(type.getElementType().isInteger(32) ||
          (isIdx && type.getElementType().isInteger(64))))
      return op.emitOpError("expects '")
             << (isIdx ? "topk_idx" : "send_row")
             << "' of 'reuse' to have rank 2 and element type i32"
             << (isIdx ? " or i64 (" : " (") << value.getType() << ")";
    if (type.getDimSize(0) != op.getX().getType().getDimSize(0))
      return op.emitOpError("expects '")
             << (isIdx ? "topk_idx" : "send_row") << "' of 'reuse' ("
             << toString(type.getShape()) << ") to have the tokens of 'x' ("
             << toString(op.getX().getType().getShape()) << ")";
  }
  if (op.isExpertMajor()) {
    auto sendRow = cast<ShapedType>(op.getReuse()[0].getType());
    auto topkIdx = cast<ShapedType>(op.getReuse()[1].getType());
    if (sendRow.getDimSize(1) != topkIdx.getDimSize(1))
      return op.emitOpError("expects 'send_row' of 'reuse' (")
             << toString(sendRow.getShape())
             << ") to have the shape of its 'topk_idx' ("
             << toString(topkIdx.getShape()) << ")";
  }
  return success();
}

/// dispatch_c2 for a `topk_idx`, given or of `reuse`.
static LogicalResult verifyTopK(DispatchOp op) {
  Value topkIdx = op.getRoutingTopkIdx();
  if (!topkIdx)
    return success();
  auto type = cast<ShapedType>(topkIdx.getType());
  int64_t topK = type.getDimSize(1);
  if (ShapedType::isDynamic(topK) || topK < 1 || topK > kMaxTopK)
    return op.emitOpError("expects 'topk_idx' (")
           << toString(type.getShape()) << ") to have a static K from 1 to "
           << kMaxTopK;
  if (op.isReuse())
    return success();
  ShapedType x = op.getX().getType();
  if (type.getDimSize(0) != x.getDimSize(0))
    return op.emitOpError("expects 'topk_idx' (")
           << toString(type.getShape()) << ") to have the tokens of 'x' ("
           << toString(x.getShape()) << ")";
  auto weights = cast<ShapedType>(op.getTopkWeights().getType());
  if (weights.getShape() != type.getShape())
    return op.emitOpError("expects 'topk_weights' (")
           << toString(weights.getShape())
           << ") to have the shape of 'topk_idx' (" << toString(type.getShape())
           << ")";
  return success();
}

LogicalResult DispatchOp::verify() {
  // dispatch_c10
  if (failed(verifyForm(*this)))
    return failure();
  // dispatch_c1
  ShapedType x = getX().getType();
  if (x.isDynamicDim(1) || x.getDimSize(1) < 1)
    return emitOpError("expects 'x' (")
           << toString(x.getShape()) << ") to have a static H of at least 1";
  // dispatch_c11
  if (failed(verifyRouting(*this)))
    return failure();
  // dispatch_c2
  if (failed(verifyTopK(*this)))
    return failure();
  // dispatch_c4
  if (failed(verifyTokenBound(*this, x, getMaxTokens())))
    return failure();
  // dispatch_c5
  if (Value scales = getScales()) {
    auto type = cast<ShapedType>(scales.getType());
    if (!isFloat8(x.getElementType()))
      return emitOpError("expects 'x' of 8-bit float element type with "
                         "'scales' (")
             << x.getElementType() << ")";
    if (type.getDimSize(0) != x.getDimSize(0) || type.isDynamicDim(1) ||
        type.getDimSize(1) < 1)
      return emitOpError("expects 'scales' (")
             << toString(type.getShape())
             << ") to have the tokens of 'x' and a static S of at least 1 ('x' "
                "is "
             << toString(x.getShape()) << ")";
  }
  // dispatch_c6
  if (getOrder() == Order::expert) {
    if (getLayout() != Layout::rank_major)
      return emitOpError("expects layout rank_major with order expert (")
             << stringifyLayout(getLayout()) << ")";
    if (!isReuse() && getTopK() != 1)
      return emitOpError("expects K = 1 with order expert (")
             << getTopK() << ")";
  }
  // dispatch_c7
  if (getAlignment() > 1 && !isExpertMajor())
    return emitOpError("expects layout expert_major with 'alignment' (")
           << getAlignment() << ") above 1 (" << stringifyLayout(getLayout())
           << ")";
  // dispatch_c8
  if (getCapacity() && getLayout() == Layout::slab)
    return emitOpError("expects no 'capacity' (")
           << *getCapacity() << ") with layout slab";
  // dispatch_c14
  if (isExpand() && !isExpertMajor())
    return emitOpError("expects layout expert_major with algorithm expand (")
           << stringifyLayout(getLayout()) << ")";
  // dispatch_c15
  if (hasLists() && isExpertMajor())
    return emitOpError("expects layout rank_major or slab with "
                       "'list_alignment' (")
           << *getListAlignment() << ")";
  if (hasLists() && isReuse())
    return emitOpError("expects no 'list_alignment' (")
           << *getListAlignment() << ") with 'reuse'";
  // dispatch_c16
  if (getKeepBlocks() && isReuse())
    return emitOpError("expects no 'keep_blocks' with 'reuse'; the blocks are "
                       "those of the dispatch whose routes it takes");
  // dispatch_c17
  if (hasBlocks() && !isReuse())
    return emitOpError("expects 'blocks' with 'reuse' only");
  return success();
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  int64_t numRanks = 0;
  if (failed(verifyGroup(*this, symbolTable, numRanks)))
    return failure();
  // dispatch_c12
  if (failed(verifyRowNumbers(*this, numRanks, getTokenBound())))
    return failure();
  if (int64_t capacity = getNumRows(numRanks); capacity > kMaxRows)
    return emitOpError("expects the capacity (")
           << capacity << ") to be at most " << kMaxRows;
  if (isExpertMajor()) {
    // The true counts and offsets, which a smaller capacity does not bound.
    ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};
    int64_t perRank = placement.maxPerRank();
    __int128 rows = static_cast<__int128>(numRanks) * getTokenBound() *
                        std::min(getTopK(), perRank) +
                    static_cast<__int128>(perRank) * getAlignment();
    if (rows > kMaxRows)
      return emitOpError("expects the aligned groups of ")
             << perRank << " experts to have at most " << kMaxRows
             << " rows ('alignment' is " << getAlignment() << ")";
  }
  if (hasLists()) {
    ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};
    int64_t perRank = placement.maxPerRank();
    __int128 entries = static_cast<__int128>(getNumRows(numRanks)) *
                       std::min(getTopK(), perRank);
    __int128 alignment = *getListAlignment();
    __int128 most =
        entries + std::min<__int128>(perRank, entries) * (alignment - 1);
    if (most - most % alignment > kMaxRows)
      return emitOpError("expects the lists of ")
             << perRank << " experts to have at most " << kMaxRows
             << " places ('list_alignment' is " << *getListAlignment() << ")";
  }
  if (isReuse() && !isExpertMajor()) {
    auto sendRow = cast<ShapedType>(getReuse().front().getType());
    if (sendRow.getDimSize(1) != numRanks)
      return emitOpError("expects 'send_row' of 'reuse' (")
             << toString(sendRow.getShape())
             << ") to have one column per rank (" << numRanks << ")";
  }
  // dispatch_c17
  if (failed(verifyBlocks(*this, numRanks)))
    return failure();
  // dispatch_c9
  return verifyOutputTypes(*this, numRanks);
}
