//===- ExpandMath.cpp - one meaning of float ops on all targets -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "MapElements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEEXPANDMATHPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static bool isSmallFloat(Type type) {
  auto element = dyn_cast<FloatType>(getElementTypeOrSelf(type));
  return element && element.getWidth() < 32;
}

/// `type`, a float or a vector of floats, with elements of f32.
static Type toF32(Type type) {
  Type f32 = Float32Type::get(type.getContext());
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(vector.clone(f32)) : f32;
}

namespace {

/// Computes an op on small floats in f32 and rounds once.
template <typename OpTy> struct ExtendToF32 : public OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!isSmallFloat(type) || !isScalarOrVector(type))
      return rewriter.notifyMatchFailure(op, "not of a small float");
    Location loc = op.getLoc();
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(
          isSmallFloat(operand.getType())
              ? arith::ExtFOp::create(rewriter, loc, toF32(type), operand)
              : operand);
    Value wide = OpTy::create(rewriter, loc, TypeRange(toF32(type)), operands);
    rewriter.replaceOpWithNewOp<arith::TruncFOp>(op, type, wide);
    return success();
  }
};

/// Minimum and maximum as the intrinsics that order zeros by their signs. For
/// the ops that prefer a number to NaN MLIR leaves that open, and machines
/// differ.
template <typename OpTy> struct UseMinMax : public OpRewritePattern<OpTy> {
  UseMinMax(MLIRContext *context, StringRef intrinsic)
      : OpRewritePattern<OpTy>(context), intrinsic(intrinsic) {}

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (isSmallFloat(type) || !isScalarOrVector(type))
      return rewriter.notifyMatchFailure(op, "not of f32 or f64");
    rewriter.replaceOp(
        op, mapElements(rewriter, op.getLoc(), op->getOperands(), type,
                        [&](ValueRange elements) -> Value {
                          return LLVM::CallIntrinsicOp::create(
                                     rewriter, op.getLoc(),
                                     elements.front().getType(),
                                     rewriter.getStringAttr(intrinsic),
                                     elements)
                              .getResult(0);
                        }));
    return success();
  }

  StringRef intrinsic;
};

struct ExpandClampF : public OpRewritePattern<math::ClampFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::ClampFOp op,
                                PatternRewriter &rewriter) const override {
    if (!isScalarOrVector(op.getType()))
      return rewriter.notifyMatchFailure(op, "not a scalar or a vector");
    Value below = arith::MinimumFOp::create(rewriter, op.getLoc(),
                                            op.getValue(), op.getMax());
    rewriter.replaceOpWithNewOp<arith::MaximumFOp>(op, below, op.getMin());
    return success();
  }
};

struct ExpandSincos : public OpRewritePattern<math::SincosOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::SincosOp op,
                                PatternRewriter &rewriter) const override {
    Value operand = op.getOperand();
    Value sin = math::SinOp::create(rewriter, op.getLoc(), operand);
    Value cos = math::CosOp::create(rewriter, op.getLoc(), operand);
    rewriter.replaceOp(op, {sin, cos});
    return success();
  }
};

struct MoEExpandMathPass
    : public moe::impl::MoEExpandMathPassBase<MoEExpandMathPass> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    patterns.add<ExtendToF32<arith::MaximumFOp>, ExtendToF32<arith::MaxNumFOp>,
                 ExtendToF32<arith::MinimumFOp>, ExtendToF32<arith::MinNumFOp>,
                 ExtendToF32<math::FmaOp>, ExtendToF32<math::FPowIOp>,
                 ExpandClampF, ExpandSincos>(context);
    patterns.add<UseMinMax<arith::MaximumFOp>>(context, "llvm.maximum");
    patterns.add<UseMinMax<arith::MinimumFOp>>(context, "llvm.minimum");
    patterns.add<UseMinMax<arith::MaxNumFOp>>(context, "llvm.maximumnum");
    patterns.add<UseMinMax<arith::MinNumFOp>>(context, "llvm.minimumnum");
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
