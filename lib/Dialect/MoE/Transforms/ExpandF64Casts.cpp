//===- ExpandF64Casts.cpp - conversions between f64 and small floats ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <limits>

namespace mlir::moe {
#define GEN_PASS_DEF_MOEEXPANDF64CASTSPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// `type`, a float or a vector of floats, with elements of `element`.
Type withElement(Type type, Type element) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(vector.clone(element)) : element;
}

/// A constant of the integer type, or vector of integers, `type`.
Value splat(ImplicitLocOpBuilder &b, Type type, int64_t value) {
  TypedAttr attr = b.getIntegerAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, attr);
}

bool isF64(Type type) { return getElementTypeOrSelf(type).isF64(); }

bool isScalarOrVector(Type type) {
  return !isa<ShapedType>(type) || isa<VectorType>(type);
}

/// bf16 is the upper half of f32. (There are instructions for f16, and
/// moe-expand-float8 is for the others.)
struct ExpandF64ExtF : public OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::ExtFOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getIn().getType()).isBF16() ||
        !isF64(op.getType()) || !isScalarOrVector(op.getType()))
      return rewriter.notifyMatchFailure(op, "not from bf16 to f64");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type i16 = withElement(op.getType(), b.getI16Type());
    Type i32 = withElement(op.getType(), b.getI32Type());
    Type f32 = withElement(op.getType(), b.getF32Type());
    Value half = arith::BitcastOp::create(b, i16, op.getIn());
    Value bits = arith::ShLIOp::create(b, arith::ExtUIOp::create(b, i32, half),
                                       splat(b, i32, 16));
    Value wide = arith::BitcastOp::create(b, f32, bits);
    rewriter.replaceOpWithNewOp<arith::ExtFOp>(op, op.getType(), wide);
    return success();
  }
};

/// Rounding twice to nearest may differ from rounding once. So the first time
/// is to odd: of the two values of f32 around one that is none of them, that
/// whose last bit is set. It is no tie of a float with at least two bits less
/// and on the same side of all of them; S. Boldo and G. Melquiond, "Emulation
/// of FMA and correctly rounded sums: proved algorithms using rounding to odd",
/// IEEE Transactions on Computers 57(4), 2008.
struct ExpandF64TruncF : public OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::TruncFOp op,
                                PatternRewriter &rewriter) const override {
    Value in = op.getIn();
    if (!isF64(in.getType()) || !isScalarOrVector(op.getType()) ||
        getElementTypeOrSelf(op.getType()).getIntOrFloatBitWidth() >= 32)
      return rewriter.notifyMatchFailure(op, "not from f64 to less than f32");
    if (op.getRoundingmode() &&
        *op.getRoundingmode() != arith::RoundingMode::to_nearest_even)
      return rewriter.notifyMatchFailure(op, "not to nearest, ties to even");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type f32 = withElement(op.getType(), b.getF32Type());
    Type i32 = withElement(op.getType(), b.getI32Type());
    Type i64 = withElement(op.getType(), b.getI64Type());
    Value near = arith::TruncFOp::create(b, f32, in);
    Value back = arith::ExtFOp::create(b, in.getType(), near);
    // Bits of floats of the same sign are ordered like their magnitudes.
    auto magnitude = [&](Value value) -> Value {
      Value bits = arith::BitcastOp::create(b, i64, value);
      return arith::AndIOp::create(
          b, bits, splat(b, i64, std::numeric_limits<int64_t>::max()));
    };
    Value isAway = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt,
                                         magnitude(back), magnitude(in));
    // False for NaN.
    Value isInexact =
        arith::CmpFOp::create(b, arith::CmpFPredicate::ONE, back, in);
    Value one = splat(b, i32, 1);
    Value bits = arith::BitcastOp::create(b, i32, near);
    Value towardsZero = arith::SelectOp::create(
        b, isAway, arith::SubIOp::create(b, bits, one), bits);
    Value odd = arith::OrIOp::create(b, towardsZero, one);
    Value chosen = arith::SelectOp::create(b, isInexact, odd, bits);
    Value middle = arith::BitcastOp::create(b, f32, chosen);
    rewriter.replaceOpWithNewOp<arith::TruncFOp>(op, op.getType(), middle);
    return success();
  }
};

struct MoEExpandF64CastsPass
    : public moe::impl::MoEExpandF64CastsPassBase<MoEExpandF64CastsPass> {
  using MoEExpandF64CastsPassBase::MoEExpandF64CastsPassBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandF64ExtF, ExpandF64TruncF>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
