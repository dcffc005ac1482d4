//===- JoinLoadsLowering.cpp - loads that are in flight together ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

/// Bits of the words that vectors are looked at in: a register, or less where a
/// vector has less.
static VectorType getWords(Type type) {
  auto vector = cast<VectorType>(type);
  int64_t bits = vector.getNumElements() * vector.getElementTypeBitWidth();
  int64_t width = std::min<int64_t>(bits, 32);
  return VectorType::get({bits / width},
                         IntegerType::get(type.getContext(), width));
}

/// Only a dependence that goes through the data keeps ptxas from moving a load
/// behind an addition: it moves loads across a barrier of a subgroup and across
/// a fence of the block. Kernels are launched with one row of blocks, so that
/// the number of a block's row is a zero that ptxas does not know.
void KernelLowering::lower(symm::JoinLoadsOp op) {
  Value all;
  for (Value operand : op.getOperands()) {
    VectorType words = getWords(operand.getType());
    Value bits = vector::BitCastOp::create(rewriter, loc, words, operand);
    Value word = vector::ExtractOp::create(rewriter, loc, bits, 0);
    if (words.getElementTypeBitWidth() < 32)
      word = arith::ExtUIOp::create(rewriter, loc, rewriter.getI32Type(), word);
    all = all ? arith::XOrIOp::create(rewriter, loc, all, word) : word;
  }
  SmallVector<Value> results;
  for (Value value : op.getValues()) {
    Value zero = NVVM::BlockIdYOp::create(rewriter, loc, rewriter.getI32Type());
    Value none = arith::AndIOp::create(rewriter, loc, all, zero);
    VectorType words = getWords(value.getType());
    if (words.getElementTypeBitWidth() < 32)
      none =
          arith::TruncIOp::create(rewriter, loc, words.getElementType(), none);
    Value bits = vector::BitCastOp::create(rewriter, loc, words, value);
    bits = arith::XOrIOp::create(
        rewriter, loc, bits,
        vector::BroadcastOp::create(rewriter, loc, words, none));
    results.push_back(
        vector::BitCastOp::create(rewriter, loc, value.getType(), bits));
  }
  rewriter.replaceOp(op, results);
}
