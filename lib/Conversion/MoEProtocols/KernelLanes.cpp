//===- KernelLanes.cpp - what the lanes of a subgroup do together ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

Value KernelBuilder::ballot(Value condition) {
  return NVVM::VoteSyncOp::create(*this, getI32Type(), i32(-1), condition,
                                  NVVM::VoteSyncKind::ballot);
}

Value KernelBuilder::countBits(Value mask) {
  return arith::IndexCastUIOp::create(*this, getIndexType(),
                                      math::CtPopOp::create(*this, mask));
}

Value KernelBuilder::bitsBelow(Value mask) {
  Value bit =
      arith::ShLIOp::create(*this, i32(1), fromIndex(laneId, getI32Type()));
  return arith::AndIOp::create(*this, mask, sub(bit, i32(1)));
}

Value KernelBuilder::lowestBit(Value mask) {
  Value bit = math::CountTrailingZerosOp::create(*this, mask);
  // 32 for an empty mask.
  return arith::IndexCastUIOp::create(
      *this, getIndexType(),
      arith::AndIOp::create(*this, bit, i32(kSubgroupSize - 1)));
}

Value KernelBuilder::highestBit(Value mask) {
  Value zeros = math::CountLeadingZerosOp::create(*this, mask);
  // 32 for an empty mask.
  return arith::IndexCastUIOp::create(
      *this, getIndexType(),
      arith::AndIOp::create(*this, sub(i32(kSubgroupSize - 1), zeros),
                            i32(kSubgroupSize - 1)));
}

void KernelBuilder::forBits(Value mask, llvm::function_ref<void(Value)> body) {
  auto loop = scf::WhileOp::create(*this, TypeRange{getI32Type()}, mask,
                                   nullptr, nullptr);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&loop.getBefore().front());
  Value left = loop.getBeforeArguments().front();
  scf::ConditionOp::create(*this, cmp(Pred::ne, left, i32(0)), left);
  setInsertionPointToStart(&loop.getAfter().front());
  left = loop.getAfterArguments().front();
  body(lowestBit(left));
  scf::YieldOp::create(
      *this, ValueRange{arith::AndIOp::create(*this, left, sub(left, i32(1)))});
}

Value KernelBuilder::shuffle(Value value, Value lane) {
  bool isIndex = value.getType().isIndex();
  if (isIndex)
    value = fromIndex(value, getI32Type());
  Value shuffled =
      gpu::ShuffleOp::create(*this, value, fromIndex(lane, getI32Type()),
                             i32(kSubgroupSize), gpu::ShuffleMode::IDX)
          .getShuffleResult();
  return isIndex ? toIndex(shuffled) : shuffled;
}

Value KernelBuilder::sumOverLanes(Value value) {
  Value sum = gpu::SubgroupReduceOp::create(
      *this, fromIndex(value, getI32Type()), gpu::AllReduceOperation::ADD,
      /*uniform=*/true);
  return toIndex(sum);
}

Value KernelBuilder::sumOfLanesBelow(Value value) {
  Value zero = index(0), sum = value;
  for (int64_t distance = 1; distance < kSubgroupSize; distance *= 2) {
    Value isThere = cmp(Pred::uge, laneId, index(distance));
    Value from = select(isThere, sub(laneId, index(distance)), zero);
    Value other = shuffle(sum, from);
    sum = add(sum, select(isThere, other, zero));
  }
  return sub(sum, value);
}

SmallVector<Value> KernelBuilder::reduceInLanes(
    Value first, Value last, ValueRange init,
    llvm::function_ref<SmallVector<Value>(Value, Value, ValueRange)> body) {
  auto groups =
      scf::ForOp::create(*this, first, last, index(kSubgroupSize), init);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToEnd(groups.getBody());
  Value item = add(groups.getInductionVar(), laneId);
  Value isItem = cmp(Pred::ult, item, last);
  item = select(isItem, item, first);
  scf::YieldOp::create(*this, body(item, isItem, groups.getRegionIterArgs()));
  return llvm::to_vector(ValueRange(groups.getResults()));
}

Value KernelBuilder::scanInLanes(
    Value first, Value last, Value init, llvm::function_ref<Value(Value)> value,
    llvm::function_ref<void(Value, Value, Value)> emit) {
  Value zero = index(0);
  return reduceInLanes(
      first, last, init,
      [&](Value item, Value isItem, ValueRange sum) -> SmallVector<Value> {
        Value own = select(isItem, value(item), zero);
        Value before = add(sum[0], sumOfLanesBelow(own));
        ifThen(isItem, [&] { emit(item, before, own); });
        return {add(sum[0], sumOverLanes(own))};
      })[0];
}
