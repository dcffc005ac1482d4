//===- DispatchProtocol.cpp - what all dispatch schedules share -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchProtocol.h"

#include "moe-mlir/Dialect/Coll/IR/Coll.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

DispatchProtocol::DispatchProtocol(DispatchOp op, ProtocolBuilder &b)
    : op(op), b(b),
      placement{static_cast<int64_t>(op.getNumExperts()), b.numRanks()},
      capacity(op.getNumRows(b.numRanks())), topK(op.getTopK()) {}

void DispatchProtocol::prepare() {
  x = b.withContiguousRows(op.getX());
  if (Value value = op.getScales())
    scales = b.withContiguousRows(value);
  numTokens = b.checkedTokens(x, op.getTokenBound(),
                              op.getX().getType().isDynamicDim(0));
  if (scales)
    b.checkRowPerToken(scales, numTokens, "scales");
  if (op.isReuse()) {
    b.checkRowPerToken(op.getReuse().front(), numTokens, "send_row");
    if (Value idx = op.getRoutingTopkIdx())
      b.checkRowPerToken(idx, numTokens, "topk_idx");
    return;
  }
  b.checkRowPerToken(op.getTopkIdx(), numTokens, "topk_idx");
  b.checkRowPerToken(op.getTopkWeights(), numTokens, "topk_weights");
}

void DispatchProtocol::allocateRouting() {
  auto type = cast<MemRefType>(op.getTopkIdx().getType());
  SmallVector<Value> dynamicSizes;
  if (type.isDynamicDim(0))
    dynamicSizes.push_back(numTokens);
  expertOf = b.scratch(type.getShape(), type.getElementType(), dynamicSizes);
  weightOf = b.scratch(type.getShape(), b.getF32Type(), dynamicSizes);
}

void DispatchProtocol::routeSlot(Value token, Value k) {
  Type id = cast<MemRefType>(op.getTopkIdx().getType()).getElementType();
  Value none = b.integer(id, -1);
  Value last = b.integer(id, placement.numExperts - 1);
  Value expert = b.load(op.getTopkIdx(), {token, k});
  Value inRange =
      b.both(b.cmp(Pred::sge, expert, none), b.cmp(Pred::sle, expert, last));
  b.check(inRange, symm::Failure::invalid_expert, "expert id",
          {last, expert, Value(), none, token, k});
  expert = b.checked(inRange, expert, none);
  Value weight = b.load(op.getTopkWeights(), {token, k});
  if (topK > 1) {
    Value isFirst =
        b.reduce(b.index(0), k, b.integer(b.getI1Type(), 1),
                 [&](Value earlier, ValueRange carried) -> SmallVector<Value> {
                   Value other = b.load(op.getTopkIdx(), {token, earlier});
                   return {b.both(carried[0], b.cmp(Pred::ne, other, expert))};
                 })[0];
    weight = b.reduce(
        b.add(k, b.index(1)), b.index(topK), weight,
        [&](Value later, ValueRange carried) -> SmallVector<Value> {
          Value other = b.load(op.getTopkIdx(), {token, later});
          Value more = b.load(op.getTopkWeights(), {token, later});
          Value sum = arith::AddFOp::create(b, carried[0], more);
          return {b.select(b.cmp(Pred::eq, other, expert), sum, carried[0])};
        })[0];
    expert = b.select(isFirst, expert, none);
  }
  Value zero = arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  Value isNone = b.cmp(Pred::eq, expert, none);
  b.store(expert, expertOf, {token, k});
  b.store(b.select(isNone, zero, weight), weightOf, {token, k});
}

std::pair<Value, Value> DispatchProtocol::expertsOf(Value rank) {
  return {b.firstExpert(rank, placement),
          b.firstExpert(b.add(rank, b.index(1)), placement)};
}

void DispatchProtocol::storeSurplus(Value owned, Value end) {
  b.loop(owned, b.index(placement.maxPerRank()), [&](Value local) {
    b.storeIndex(b.alignUp(end, op.getAlignment()),
                 op.getOutput(Output::ExpertOffsets), {local});
    b.storeIndex(b.index(0), op.getOutput(Output::ExpertCounts), {local});
  });
}

void DispatchProtocol::checkCapacity(Value rows, Value peer) {
  if (op.getOverflow() == Overflow::error)
    b.check(b.cmp(Pred::ule, rows, b.index(capacity)),
            symm::Failure::capacity_exceeded, kRowsReceivedText,
            b.index(capacity), rows, peer);
}

std::pair<Value, Value> DispatchProtocol::peerAndKey(Value token, Value slot) {
  if (op.isExpertMajor()) {
    Value expert = b.loadIndex(expertOf, {token, slot});
    return {b.owner(expert, placement), expert};
  }
  if (keyIsExpert()) // K = 1
    return {slot, b.loadIndex(expertOf, {token, b.index(0)})};
  return {slot, slot};
}

void DispatchProtocol::storeMetadata(Value token, Value slot, Value peer,
                                     Value row,
                                     llvm::function_ref<Value(Output)> at) {
  Value idx = at(Output::RecvTopkIdx);
  Value weights = at(Output::RecvTopkWeights);
  if (op.isExpertMajor()) {
    b.store(b.load(expertOf, {token, slot}), idx, {row});
    b.store(b.load(weightOf, {token, slot}), weights, {row});
  } else {
    // Experts of other ranks are of no interest there (dispatch_s2).
    Value first = b.firstExpert(peer, placement);
    Value end = b.firstExpert(b.add(peer, b.index(1)), placement);
    Type id = cast<MemRefType>(idx.getType()).getElementType();
    Value zero =
        arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
    b.loop(topK, [&](Value k) {
      Value value = b.load(expertOf, {token, k});
      Value expert = b.toIndex(value);
      Value isThere = b.both(b.cmp(Pred::sge, expert, first),
                             b.cmp(Pred::slt, expert, end));
      b.store(b.select(isThere, value, b.integer(id, -1)), idx, {row, k});
      b.store(b.select(isThere, b.load(weightOf, {token, k}), zero), weights,
              {row, k});
    });
  }
  Value source = b.add(b.mul(b.me(), b.index(op.getTokenBound())), token);
  b.storeIndex(source, at(Output::RecvSrcIdx), {row});
}

void DispatchProtocol::putMetadata(Value token, Value slot, Value peer,
                                   Value row) {
  storeMetadata(token, slot, peer, row, [&](Output kind) -> Value {
    return symm::PeerOp::create(b, op.getOutput(kind), peer);
  });
}

void moe::clearBlocks(DispatchOp op, ProtocolBuilder &b) {
  if (!op.getKeepBlocks())
    return;
  b.fill(op.getOutput(DispatchOp::Output::PeerBlocks), -1);
  coll::ClearTableOp::create(b, op.getOutput(DispatchOp::Output::PeerRows));
}
