//===- KernelBuilder.cpp - kernels of an exchange -------------------------===//
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

void KernelBuilder::launch(llvm::function_ref<void()> body) {
  Value one = index(1);
  auto op = gpu::LaunchOp::create(*this, index(shape.blocks), one, one,
                                  index(shape.threads), one, one);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&op.getBody().front());
  blockId = op.getBlockIds().x;
  gridDim = op.getGridSize().x;
  threadId = op.getThreadIds().x;
  Value size = index(kSubgroupSize);
  subgroupId = arith::DivUIOp::create(*this, threadId, size);
  laneId = arith::RemUIOp::create(*this, threadId, size);
  body();
  gpu::TerminatorOp::create(*this);
}

std::pair<Value, Value> KernelBuilder::blockRange(Value total) {
  auto bound = [&](Value block) -> Value {
    return arith::DivUIOp::create(*this, mul(total, block), gridDim);
  };
  return {bound(blockId), bound(add(blockId, index(1)))};
}

void KernelBuilder::step(Value from, Value to, Value step,
                         llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(*this, from, to, step);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
}

void KernelBuilder::forThreads(Value total,
                               llvm::function_ref<void(Value)> body) {
  step(threadId, total, index(shape.threads), body);
}

void KernelBuilder::forSubgroups(Value from, Value to,
                                 llvm::function_ref<void(Value)> body) {
  step(add(from, subgroupId), to, index(numSubgroups()), body);
}

void KernelBuilder::onThread(Value which, llvm::function_ref<void()> body) {
  ifThen(cmp(Pred::eq, threadId, which), body);
}

void KernelBuilder::onFirstBlock(llvm::function_ref<void()> body) {
  ifThen(cmp(Pred::eq, blockId, index(0)), body);
}

void KernelBuilder::forPeers(llvm::function_ref<void(Value)> body) {
  forThreads(index(numRanks()), [&](Value i) { body(rotated(i)); });
}

void KernelBuilder::syncBlock() { gpu::BarrierOp::create(*this); }

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
