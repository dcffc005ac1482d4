//===- RoundBF16InKernels.cpp - Roundings to bf16 on the device -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEROUNDBF16INKERNELSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

struct RoundBF16 : public OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern<arith::TruncFOp>::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::TruncFOp op,
                                PatternRewriter &rewriter) const override {
    if (!op->getParentOfType<gpu::LaunchOp>() ||
        !getElementTypeOrSelf(op.getIn()).isF32() ||
        !getElementTypeOrSelf(op.getType()).isBF16() ||
        (op.getRoundingmode() &&
         *op.getRoundingmode() != arith::RoundingMode::to_nearest_even))
      return failure();
    Location loc = op.getLoc();
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type) {
      rewriter.replaceOp(op, call(rewriter, loc, "llvm.nvvm.f2bf16.rn",
                                  op.getType(), op.getIn()));
      return success();
    }
    if (type.getRank() != 1 || type.isScalable() ||
        type.getNumElements() % 2 != 0)
      return failure();

    // Two at a time, the first in the lower half of a word.
    Type pair = VectorType::get({2}, rewriter.getBF16Type());
    Type word = VectorType::get({1}, rewriter.getI32Type());
    auto words =
        VectorType::get({type.getNumElements() / 2}, rewriter.getI32Type());
    Value result =
        arith::ConstantOp::create(rewriter, loc, rewriter.getZeroAttr(words));
    for (int64_t i = 0; i < words.getNumElements(); ++i) {
      Value low = vector::ExtractOp::create(rewriter, loc, op.getIn(), 2 * i);
      Value high =
          vector::ExtractOp::create(rewriter, loc, op.getIn(), 2 * i + 1);
      Value rounded = call(rewriter, loc, "llvm.nvvm.ff2bf16x2.rn", pair,
                           ValueRange{high, low});
      Value bits = vector::BitCastOp::create(rewriter, loc, word, rounded);
      Value one = vector::ExtractOp::create(rewriter, loc, bits, 0);
      result = vector::InsertOp::create(rewriter, loc, one, result, i);
    }
    rewriter.replaceOpWithNewOp<vector::BitCastOp>(op, type, result);
    return success();
  }

private:
  static Value call(OpBuilder &builder, Location loc, StringRef intrinsic,
                    Type type, ValueRange args) {
    return LLVM::CallIntrinsicOp::create(builder, loc, type,
                                         builder.getStringAttr(intrinsic), args)
        .getResult(0);
  }
};

struct MoERoundBF16InKernelsPass
    : public moe::impl::MoERoundBF16InKernelsPassBase<
          MoERoundBF16InKernelsPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RoundBF16>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
