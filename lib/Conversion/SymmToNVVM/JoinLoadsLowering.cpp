//===- JoinLoadsLowering.cpp - loads that are in flight together ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

/// The words that a vector is looked at in: of a register, or less where it has
/// less.
static VectorType getWords(Type type) {
  auto vector = cast<VectorType>(type);
  int64_t bits = vector.getNumElements() * vector.getElementTypeBitWidth();
  int64_t width = std::min<int64_t>(bits, 32);
  return VectorType::get({bits / width},
                         IntegerType::get(type.getContext(), width));
}

/// A zero of which no compiler knows a bit: the error record is aligned to
/// words.
Value KernelLowering::opaqueZero() {
  Type type = rewriter.getI32Type();
  Value address = LLVM::PtrToIntOp::create(rewriter, loc, type, status);
  Value bit = arith::AndIOp::create(rewriter, loc, address, i32(1));
  return arith::SubIOp::create(rewriter, loc, i32(0), bit);
}

/// Only a dependence that goes through the data keeps ptxas from moving a load
/// behind an addition: it moves loads across a barrier of a subgroup and across
/// a fence of the block.
void KernelLowering::lower(symm::JoinLoadsOp op) {
  Value none = opaqueZero();
  Value all;
  for (Value operand : op.getOperands()) {
    VectorType words = getWords(operand.getType());
    Value bits = vector::BitCastOp::create(rewriter, loc, words, operand);
    Value word = vector::ExtractOp::create(rewriter, loc, bits, 0);
    if (words.getElementTypeBitWidth() < 32)
      word = arith::ExtUIOp::create(rewriter, loc, rewriter.getI32Type(), word);
    all = all ? arith::XOrIOp::create(rewriter, loc, all, word) : word;
  }
  none = arith::AndIOp::create(rewriter, loc, all, none);
  SmallVector<Value> results;
  for (Value value : op.getValues()) {
    VectorType words = getWords(value.getType());
    Value change = none;
    if (words.getElementTypeBitWidth() < 32)
      change = arith::TruncIOp::create(rewriter, loc, words.getElementType(),
                                       change);
    Value bits = vector::BitCastOp::create(rewriter, loc, words, value);
    bits = arith::XOrIOp::create(
        rewriter, loc, bits,
        vector::BroadcastOp::create(rewriter, loc, words, change));
    results.push_back(
        vector::BitCastOp::create(rewriter, loc, value.getType(), bits));
  }
  rewriter.replaceOp(op, results);
}
