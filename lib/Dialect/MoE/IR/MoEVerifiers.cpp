//===- MoEVerifiers.cpp - verifiers of the moe dialect --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The constraints of docs/Spec.md. Each is cited by its label. What does not
/// depend on the number of ranks is checked in verify(), the rest once the
/// grid is resolved, in verifySymbolUses().
///
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "moe-runtime/ArtifactABI.h"

#include "mlir/Dialect/Shard/IR/ShardOps.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

/// Prints a shape as it stands in types: 128x?x2.
static std::string toString(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(
      shape, os,
      [&](int64_t size) {
        if (ShapedType::isDynamic(size))
          os << '?';
        else
          os << size;
      },
      "x");
  return text;
}

/// The outputs are results of tensor operands, or buffers beside memrefs.
static LogicalResult verifyForm(CollectiveOpInterface op) {
  if (!op->getResults().empty() && !op.getOuts().empty())
    return op.emitOpError("expects results or 'outs', not both (results: ")
           << op->getNumResults() << ", outs: " << op.getOuts().size() << ")";
  if (op->getResults().empty() && op.getOuts().empty())
    return op.emitOpError("expects results (tensor form) or 'outs' (memref "
                          "form)");
  bool tensors = op.isTensorForm();
  for (auto [index, input] : llvm::enumerate(op.getInputs())) {
    Type type = input.getType();
    if (tensors ? !isa<TensorType>(type) : !isa<BaseMemRefType>(type))
      return op.emitOpError("expects ")
             << (tensors ? "tensor" : "memref") << " operands in its "
             << (tensors ? "tensor" : "memref") << " form (operand #" << index
             << " is " << type << ")";
  }
  return success();
}

/// T and max_tokens: dispatch_c4, combine_c5.
static LogicalResult verifyTokenBound(Operation *op, ShapedType tokens,
                                      std::optional<uint64_t> maxTokens) {
  if (tokens.isDynamicDim(0) && !maxTokens)
    return op->emitOpError(
        "expects 'max_tokens' when the number of tokens is dynamic");
  if (maxTokens && !tokens.isDynamicDim(0) &&
      tokens.getDimSize(0) > static_cast<int64_t>(*maxTokens))
    return op->emitOpError("expects the number of tokens (")
           << tokens.getDimSize(0) << ") to be at most 'max_tokens' ("
           << *maxTokens << ")";
  return success();
}

/// Rows are numbered in i32.
static constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max();

/// dispatch_c12: `recv_src_idx` numbers the tokens of all ranks. The product is
/// taken in 128 bits, which hold that of any two extents.
static LogicalResult verifyRowNumbers(Operation *op, int64_t numRanks,
                                      int64_t tokenBound) {
  if (static_cast<__int128>(numRanks) * tokenBound > kMaxRows)
    return op->emitOpError("expects ranks (")
           << numRanks << ") times tokens per rank (" << tokenBound
           << ") to be at most " << kMaxRows;
  return success();
}

/// group_c1, group_c2.
static LogicalResult verifyGroup(CollectiveOpInterface op,
                                 SymbolTableCollection &symbolTable,
                                 int64_t &numRanks) {
  FlatSymbolRefAttr name = op.getGridAttr();
  // group_c1
  auto grid = symbolTable.lookupNearestSymbolFrom<shard::GridOp>(op, name);
  if (!grid)
    return op.emitOpError("expects ") << name << " to name a 'shard.grid'";
  // group_c2
  if (grid.getRank() != 1 || ShapedType::isDynamic(grid.getShape().front()) ||
      grid.getShape().front() < 1)
    return (op.emitOpError("expects ")
            << name << " to have one static dimension of at least 1 ("
            << toString(grid.getShape()) << ")")
               .attachNote(grid.getLoc())
           << "the grid is defined here";
  numRanks = grid.getShape().front();
  if (numRanks > MOERT_MAX_RANKS)
    return (op.emitOpError("expects ")
            << name << " to have at most " << MOERT_MAX_RANKS << " ranks ("
            << numRanks << ")")
               .attachNote(grid.getLoc())
           << "the grid is defined here";
  return success();
}

/// dispatch_c9, combine_c3, alltoallv_c1, alltoallv_c2.
static LogicalResult verifyOutputTypes(CollectiveOpInterface op,
                                       int64_t numRanks) {
  SmallVector<RankedTensorType> expected;
  op.getExpectedOutputTypes(numRanks, expected);
  ValueRange outputs = op.getOutputValues();
  if (outputs.size() != expected.size())
    return op.emitOpError("expects ")
           << expected.size() << (op.isTensorForm() ? " result" : " out")
           << (expected.size() == 1 ? " (" : "s (") << outputs.size() << ")";
  for (auto [index, output] : llvm::enumerate(outputs)) {
    auto actual = cast<ShapedType>(output.getType());
    if (!actual.hasRank() || actual.getShape() != expected[index].getShape() ||
        actual.getElementType() != expected[index].getElementType())
      return op.emitOpError("expects '")
             << op.getOutputName(index) << "' (" << actual << ") to be "
             << toString(expected[index].getShape()) << " of "
             << expected[index].getElementType();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// DispatchOp
//===----------------------------------------------------------------------===//

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
  // dispatch_c9
  return verifyOutputTypes(*this, numRanks);
}

//===----------------------------------------------------------------------===//
// CombineOp
//===----------------------------------------------------------------------===//

LogicalResult CombineOp::verify() {
  if (failed(verifyForm(*this)))
    return failure();
  // combine_c1
  ShapedType y = getY().getType();
  if (!y.hasStaticShape() || y.getDimSize(1) < 1)
    return emitOpError("expects 'y' (")
           << toString(y.getShape())
           << ") to have static C and a static H of at least 1";
  if (getRecvSrcIdx().getType().getDimSize(0) != y.getDimSize(0))
    return emitOpError("expects 'recv_src_idx' (")
           << toString(getRecvSrcIdx().getType().getShape())
           << ") to have one element per row of 'y' (" << toString(y.getShape())
           << ")";
  if (Value weights = getWeights()) {
    auto type = cast<ShapedType>(weights.getType());
    if (type.getDimSize(0) != y.getDimSize(0))
      return emitOpError("expects 'weights' (")
             << toString(type.getShape())
             << ") to have one element per row of 'y' ("
             << toString(y.getShape()) << ")";
    // combine_c6
    if (!isa<FloatType>(y.getElementType()))
      return emitOpError("expects 'y' of floating-point element type with "
                         "'weights' (")
             << y.getElementType() << ")";
  }
  // combine_c2
  if (isExpertMajor() != static_cast<bool>(getTopk()))
    return emitOpError("expects ")
           << (isExpertMajor() ? "'topk'" : "no 'topk'") << " with layout "
           << stringifyLayout(getLayout());
  ShapedType sendRow = getSendRow().getType();
  if (Value topk = getTopk()) {
    auto type = cast<ShapedType>(topk.getType());
    if (type.getShape() != sendRow.getShape())
      return emitOpError("expects 'send_row' (")
             << toString(sendRow.getShape())
             << ") to have the shape of 'topk' (" << toString(type.getShape())
             << ")";
    int64_t topK = type.getDimSize(1);
    if (ShapedType::isDynamic(topK) || topK < 1 || topK > kMaxTopK)
      return emitOpError("expects 'topk' (")
             << toString(type.getShape()) << ") to have a static K from 1 to "
             << kMaxTopK;
  }
  // combine_c10
  if (returnsRows() && getAlgorithm() == Algorithm::push)
    return emitOpError("expects algorithm pull with reduce none (push)");
  // combine_c11
  if (roundsPartials()) {
    if (!isa<FloatType>(y.getElementType()))
      return emitOpError("expects 'y' of floating-point element type with "
                         "partials element (")
             << y.getElementType() << ")";
    if (returnsRows())
      return emitOpError("expects reduce sum with partials element (none)");
    if (!isExpertMajor())
      return emitOpError("expects layout expert_major with partials element (")
             << stringifyLayout(getLayout()) << ")";
  }
  // combine_c5
  return verifyTokenBound(*this, sendRow, getMaxTokens());
}

LogicalResult CombineOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  int64_t numRanks = 0;
  if (failed(verifyGroup(*this, symbolTable, numRanks)))
    return failure();
  // combine_c2
  ShapedType sendRow = getSendRow().getType();
  if (!isExpertMajor() && sendRow.getDimSize(1) != numRanks)
    return emitOpError("expects 'send_row' (")
           << toString(sendRow.getShape()) << ") to have one column per rank ("
           << numRanks << ")";
  // combine_c4
  if (getNTokensFromRank().getType().getDimSize(0) != numRanks)
    return emitOpError("expects 'n_tokens_from_rank' (")
           << toString(getNTokensFromRank().getType().getShape())
           << ") to have one element per rank (" << numRanks << ")";
  // combine_c8
  if (failed(verifyRowNumbers(*this, numRanks, getTokenBound())))
    return failure();
  // combine_c3
  return verifyOutputTypes(*this, numRanks);
}

//===----------------------------------------------------------------------===//
// AllToAllvOp
//===----------------------------------------------------------------------===//

LogicalResult AllToAllvOp::verify() {
  // alltoallv_c3
  if (failed(verifyForm(*this)))
    return failure();
  // alltoallv_c1
  ArrayRef<int64_t> row = getSend().getType().getShape().drop_front();
  if (ShapedType::isDynamicShape(row))
    return emitOpError("expects 'send' (")
           << toString(getSend().getType().getShape())
           << ") to have static dimensions below the leading one";
  auto recv = cast<ShapedType>(getOutputValues().front().getType());
  if (recv.hasRank() && recv.getRank() > 0 && recv.isDynamicDim(0))
    return emitOpError("expects 'recv' (") << recv << ") to have a static C";
  return success();
}

LogicalResult
AllToAllvOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  int64_t numRanks = 0;
  if (failed(verifyGroup(*this, symbolTable, numRanks)))
    return failure();
  // alltoallv_c2
  if (getSendCounts().getType().getDimSize(0) != numRanks)
    return emitOpError("expects 'send_counts' (")
           << toString(getSendCounts().getType().getShape())
           << ") to have one element per rank (" << numRanks << ")";
  // alltoallv_c1, alltoallv_c2
  return verifyOutputTypes(*this, numRanks);
}
