//===- MoEOps.cpp - moe dialect operations --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::moe;

#define GET_OP_CLASSES
#include "moe-mlir/Dialect/MoE/IR/MoEOps.cpp.inc"

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

namespace {
/// What a collective in memref form does to other ranks. Keeps collectives in
/// program order: all ranks have to run them in the same one.
struct PeersResource : public SideEffects::Resource::Base<PeersResource> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PeersResource)
  StringRef getName() final { return "moe.peers"; }
};
} // namespace

/// The tensor form has no effects: it may be removed or merged, which happens
/// on all ranks alike. The memref form reads its operands, writes `outs` and
/// talks to peers.
static void getCollectiveEffects(CollectiveOpInterface op, Effects &effects) {
  if (op.isTensorForm())
    return;
  MutableArrayRef<OpOperand> operands = op->getOpOperands();
  size_t numInputs = op.getInputs().size();
  for (OpOperand &input : operands.take_front(numInputs))
    effects.emplace_back(MemoryEffects::Read::get(), &input);
  for (OpOperand &out : operands.drop_front(numInputs))
    effects.emplace_back(MemoryEffects::Write::get(), &out);
  effects.emplace_back(MemoryEffects::Write::get(), PeersResource::get());
}

static void nameResults(CollectiveOpInterface op, OpAsmSetValueNameFn setName) {
  for (OpResult result : op->getResults())
    setName(result, op.getOutputName(result.getResultNumber()));
}

/// The only dynamic extent of an output is the number of tokens, which is
/// dimension 0 of `tokens`.
static LogicalResult reifyShapes(CollectiveOpInterface op, OpBuilder &builder,
                                 Value tokens,
                                 ReifiedRankedShapedTypeDims &shapes) {
  for (Value result : op->getResults()) {
    SmallVector<OpFoldResult> &dims = shapes.emplace_back();
    for (int64_t size : cast<ShapedType>(result.getType()).getShape()) {
      if (ShapedType::isDynamic(size))
        dims.push_back(
            tensor::getMixedSize(builder, op.getLoc(), tokens, /*dim=*/0));
      else
        dims.push_back(builder.getIndexAttr(size));
    }
  }
  return success();
}

/// T_max: the static number of tokens, or `maxTokens`.
SmallVector<int64_t> moe::getPeerBlocksShape(int64_t numRanks,
                                             bool isExpertMajor,
                                             uint64_t numExperts) {
  ExpertPlacement placement{static_cast<int64_t>(numExperts), numRanks};
  return {2, numRanks, isExpertMajor ? placement.maxPerRank() : 1, 2};
}

static int64_t getTokenBound(ShapedType tokens,
                             std::optional<uint64_t> maxTokens) {
  return tokens.isDynamicDim(0) ? maxTokens.value_or(0) : tokens.getDimSize(0);
}

//===----------------------------------------------------------------------===//
// DispatchOp
//===----------------------------------------------------------------------===//

SmallVector<DispatchOp::Output> DispatchOp::getOutputKinds() {
  SmallVector<Output> kinds = {Output::RecvX};
  if (getScales())
    kinds.push_back(Output::RecvScales);
  if (isReuse())
    return kinds;
  kinds.append({Output::RecvTopkIdx, Output::RecvTopkWeights,
                Output::RecvSrcIdx, Output::TokensToRank,
                Output::TokensFromRank, Output::SendRow});
  if (isExpertMajor() || hasLists())
    kinds.append({Output::ExpertOffsets, Output::ExpertCounts});
  if (hasLists())
    kinds.append({Output::ListRows, Output::ListWeights});
  if (getKeepBlocks())
    kinds.append({Output::PeerBlocks, Output::PeerRows});
  return kinds;
}

StringRef DispatchOp::stringifyOutput(Output kind) {
  switch (kind) {
  case Output::RecvX:
    return "recv_x";
  case Output::RecvScales:
    return "recv_scales";
  case Output::RecvTopkIdx:
    return "recv_topk_idx";
  case Output::RecvTopkWeights:
    return "recv_topk_weights";
  case Output::RecvSrcIdx:
    return "recv_src_idx";
  case Output::TokensToRank:
    return "n_tokens_to_rank";
  case Output::TokensFromRank:
    return "n_tokens_from_rank";
  case Output::SendRow:
    return "send_row";
  case Output::ExpertOffsets:
    return "expert_offsets";
  case Output::ExpertCounts:
    return "expert_counts";
  case Output::ListRows:
    return "list_rows";
  case Output::ListWeights:
    return "list_weights";
  case Output::PeerBlocks:
    return "peer_blocks";
  case Output::PeerRows:
    return "peer_rows";
  }
  llvm_unreachable("all outputs are named");
}

StringRef DispatchOp::getOutputName(unsigned index) {
  SmallVector<Output> kinds = getOutputKinds();
  return index < kinds.size() ? stringifyOutput(kinds[index]) : StringRef();
}

Value DispatchOp::getOutput(Output kind) {
  SmallVector<Output> kinds = getOutputKinds();
  auto it = llvm::find(kinds, kind);
  if (it == kinds.end())
    return {};
  return getOutputValues()[it - kinds.begin()];
}

Value DispatchOp::getRoutingTopkIdx() {
  if (!isReuse())
    return getTopkIdx();
  return isExpertMajor() ? getReuse()[1] : Value();
}

int64_t DispatchOp::getTopK() {
  Value topkIdx = getRoutingTopkIdx();
  return topkIdx ? cast<ShapedType>(topkIdx.getType()).getDimSize(1) : 0;
}

int64_t DispatchOp::getTokenBound() {
  return ::getTokenBound(getX().getType(), getMaxTokens());
}

int64_t DispatchOp::getNumRows(int64_t numRanks) {
  if (std::optional<uint64_t> capacity = getCapacity())
    return *capacity;
  int64_t rows = numRanks * getTokenBound();
  if (isExpertMajor()) {
    ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};
    rows *= std::min(getTopK(), placement.maxPerRank());
  }
  return rows;
}

/// dispatch_s15. Each of the groups that have rows takes up its rows, rounded
/// up: less than the alignment more than there are.
int64_t DispatchOp::getListLength(int64_t numRanks) {
  if (!hasLists())
    return 0;
  ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};
  int64_t local = placement.maxPerRank(), alignment = *getListAlignment();
  int64_t entries = getNumRows(numRanks) * std::min(getTopK(), local);
  int64_t most = entries + std::min(local, entries) * (alignment - 1);
  return most / alignment * alignment;
}

int64_t DispatchOp::getMaxPairRows(int64_t numRanks) {
  ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};
  int64_t perToken =
      isExpertMajor() ? std::min(getTopK(), placement.maxPerRank()) : 1;
  return getTokenBound() * perToken;
}

void DispatchOp::getExpectedOutputTypes(
    int64_t numRanks, SmallVectorImpl<RankedTensorType> &types) {
  ShapedType x = getX().getType();
  int64_t rows = getNumRows(numRanks);
  int64_t topK = getTopK();
  Type i32 = IntegerType::get(getContext(), 32);
  ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};

  SmallVector<int64_t> perRow = {rows};
  if (!isExpertMajor())
    perRow.push_back(topK);

  for (Output kind : getOutputKinds()) {
    switch (kind) {
    case Output::RecvX:
      types.push_back(
          RankedTensorType::get({rows, x.getDimSize(1)}, x.getElementType()));
      break;
    case Output::RecvScales: {
      auto scales = cast<ShapedType>(getScales().getType());
      types.push_back(RankedTensorType::get({rows, scales.getDimSize(1)},
                                            scales.getElementType()));
      break;
    }
    case Output::RecvTopkIdx:
      types.push_back(RankedTensorType::get(
          perRow, cast<ShapedType>(getTopkIdx().getType()).getElementType()));
      break;
    case Output::RecvTopkWeights:
      types.push_back(
          RankedTensorType::get(perRow, Float32Type::get(getContext())));
      break;
    case Output::RecvSrcIdx:
      types.push_back(RankedTensorType::get({rows}, i32));
      break;
    case Output::TokensToRank:
    case Output::TokensFromRank:
      types.push_back(RankedTensorType::get({numRanks}, i32));
      break;
    case Output::SendRow:
      types.push_back(RankedTensorType::get(
          {x.getDimSize(0), isExpertMajor() ? topK : numRanks}, i32));
      break;
    case Output::ExpertOffsets:
    case Output::ExpertCounts:
      types.push_back(RankedTensorType::get({placement.maxPerRank()}, i32));
      break;
    case Output::ListRows:
      types.push_back(RankedTensorType::get({getListLength(numRanks)}, i32));
      break;
    case Output::ListWeights:
      types.push_back(RankedTensorType::get({getListLength(numRanks)},
                                            Float32Type::get(getContext())));
      break;
    case Output::PeerBlocks:
      types.push_back(RankedTensorType::get(
          getPeerBlocksShape(numRanks, isExpertMajor(), getNumExperts()), i32));
      break;
    case Output::PeerRows:
      types.push_back(RankedTensorType::get({4, numRanks}, i32));
      break;
    }
  }
}

void DispatchOp::getSymmetricOperands(SmallVectorImpl<OpOperand *> &operands) {
  SmallVector<Output> kinds = getOutputKinds();
  for (auto [index, out] : llvm::enumerate(getOutsMutable()))
    if (kinds[index] <= Output::RecvSrcIdx)
      operands.push_back(&out);
}

void DispatchOp::getEffects(Effects &effects) {
  getCollectiveEffects(*this, effects);
}

void DispatchOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName);
}

LogicalResult
DispatchOp::reifyResultShapes(OpBuilder &builder,
                              ReifiedRankedShapedTypeDims &shapes) {
  return reifyShapes(*this, builder, getX(), shapes);
}

//===----------------------------------------------------------------------===//
// CombineOp
//===----------------------------------------------------------------------===//

int64_t CombineOp::getTokenBound() {
  return ::getTokenBound(getSendRow().getType(), getMaxTokens());
}

int64_t CombineOp::getMaxPairRows(int64_t numRanks) {
  ExpertPlacement placement{static_cast<int64_t>(getNumExperts()), numRanks};
  int64_t perToken =
      isExpertMajor() ? std::min(getNumSlots(), placement.maxPerRank()) : 1;
  return getTokenBound() * perToken;
}

StringRef CombineOp::getOutputName(unsigned) { return "out"; }

void CombineOp::getExpectedOutputTypes(
    int64_t numRanks, SmallVectorImpl<RankedTensorType> &types) {
  ShapedType y = getY().getType();
  SmallVector<int64_t> shape = {getSendRow().getType().getDimSize(0)};
  if (returnsRows()) // combine_s7
    shape.push_back(getNumSlots());
  shape.push_back(y.getDimSize(1));
  types.push_back(RankedTensorType::get(shape, y.getElementType()));
}

void CombineOp::getSymmetricOperands(SmallVectorImpl<OpOperand *> &operands) {
  // A push sends rows into slots of its own.
  if (getAlgorithm() == Algorithm::push)
    return;
  operands.push_back(&getYMutable());
  for (OpOperand &weights : getWeightsMutable())
    operands.push_back(&weights);
}

void CombineOp::getEffects(Effects &effects) {
  getCollectiveEffects(*this, effects);
}

void CombineOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName);
}

LogicalResult
CombineOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &shapes) {
  return reifyShapes(*this, builder, getSendRow(), shapes);
}

//===----------------------------------------------------------------------===//
// AllToAllvOp
//===----------------------------------------------------------------------===//

/// A rank receives no more than `recv` has room for.
int64_t AllToAllvOp::getMaxPairRows(int64_t) {
  ShapedType send = getSend().getType();
  int64_t rows =
      cast<ShapedType>(getOutputValues().front().getType()).getDimSize(0);
  return send.isDynamicDim(0) ? rows : std::min(rows, send.getDimSize(0));
}

StringRef AllToAllvOp::getOutputName(unsigned index) {
  return index == 0 ? "recv" : "recv_counts";
}

void AllToAllvOp::getExpectedOutputTypes(
    int64_t numRanks, SmallVectorImpl<RankedTensorType> &types) {
  // The capacity is the user's choice: it is read off the output.
  ShapedType send = getSend().getType();
  SmallVector<int64_t> shape(send.getShape());
  ValueRange outputs = getOutputValues();
  if (!outputs.empty()) {
    auto recv = cast<ShapedType>(outputs.front().getType());
    if (recv.hasRank() && recv.getRank() > 0)
      shape.front() = recv.getDimSize(0);
  }
  types.push_back(RankedTensorType::get(shape, send.getElementType()));
  types.push_back(
      RankedTensorType::get({numRanks}, IntegerType::get(getContext(), 32)));
}

void AllToAllvOp::getSymmetricOperands(SmallVectorImpl<OpOperand *> &operands) {
  operands.push_back(&getOutsMutable()[0]);
}

void AllToAllvOp::getEffects(Effects &effects) {
  getCollectiveEffects(*this, effects);
}

void AllToAllvOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName);
}

LogicalResult
AllToAllvOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  return reifyShapes(*this, builder, getSend(), shapes);
}
