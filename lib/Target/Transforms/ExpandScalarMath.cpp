//===- ExpandScalarMath.cpp - Math ops that nothing computes --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEEXPANDSCALARMATHPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

/// Emits arithmetic at one place.
class Emitter {
public:
  Emitter(OpBuilder &builder, Location loc) : builder(builder), loc(loc) {}

  Value integer(Type type, const APInt &value) {
    auto attr = IntegerAttr::get(getElementTypeOrSelf(type), value);
    return constant(type, attr);
  }
  Value integer(Type type, int64_t value) {
    return integer(type,
                   APInt(getElementTypeOrSelf(type).getIntOrFloatBitWidth(),
                         value, /*isSigned=*/true, /*implicitTrunc=*/true));
  }
  Value number(Type type, const APFloat &value) {
    return constant(type, FloatAttr::get(getElementTypeOrSelf(type), value));
  }
  template <typename OpTy, typename... Args> Value create(Args &&...args) {
    return OpTy::create(builder, loc, std::forward<Args>(args)...);
  }
  Value compare(arith::CmpIPredicate predicate, Value a, Value b) {
    return create<arith::CmpIOp>(predicate, a, b);
  }
  Value select(Value condition, Value yes, Value no) {
    return create<arith::SelectOp>(condition, yes, no);
  }

private:
  Value constant(Type type, TypedAttr attr) {
    if (auto vector = dyn_cast<VectorType>(type))
      attr = DenseElementsAttr::get(vector, Attribute(attr));
    return create<arith::ConstantOp>(attr);
  }

  OpBuilder &builder;
  Location loc;
};

/// What a float is, by comparisons of its absolute value.
template <typename OpTy> struct ExpandClass : public OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    using arith::CmpFPredicate;
    Emitter emit(rewriter, op.getLoc());
    Value operand = op.getOperand();
    Type type = operand.getType();
    const llvm::fltSemantics &semantics =
        cast<FloatType>(getElementTypeOrSelf(type)).getFloatSemantics();
    auto compare = [&](CmpFPredicate predicate, Value a, Value b) {
      return emit.create<arith::CmpFOp>(predicate, a, b);
    };
    if (isa<math::IsNaNOp>(op)) {
      rewriter.replaceOp(op, compare(CmpFPredicate::UNO, operand, operand));
      return success();
    }
    Value size = emit.create<math::AbsFOp>(operand);
    Value least = emit.number(type, APFloat::getSmallestNormalized(semantics));
    if (!APFloat::semanticsHasInf(semantics)) {
      // f8E4M3FN: all but NaN is finite.
      Value isNumber = compare(CmpFPredicate::ORD, operand, operand);
      Value never = emit.create<arith::XOrIOp>(isNumber, isNumber);
      rewriter.replaceOp(op, isa<math::IsInfOp>(op) ? never
                             : isa<math::IsFiniteOp>(op)
                                 ? isNumber
                                 : compare(CmpFPredicate::OGE, size, least));
      return success();
    }
    Value infinity = emit.number(type, APFloat::getInf(semantics));
    if (isa<math::IsInfOp>(op)) {
      rewriter.replaceOp(op, compare(CmpFPredicate::OEQ, size, infinity));
      return success();
    }
    Value isFinite = compare(CmpFPredicate::OLT, size, infinity);
    if (isa<math::IsNormalOp>(op))
      isFinite = emit.create<arith::AndIOp>(
          isFinite, compare(CmpFPredicate::OGE, size, least));
    rewriter.replaceOp(op, isFinite);
    return success();
  }
};

struct ExpandIPowI : public OpRewritePattern<math::IPowIOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::IPowIOp op,
                                PatternRewriter &rewriter) const override {
    using arith::CmpIPredicate;
    Type type = op.getType();
    if (getElementTypeOrSelf(type).isIndex())
      return rewriter.notifyMatchFailure(op, "of index");
    Emitter emit(rewriter, op.getLoc());
    Value base = op.getLhs(), exponent = op.getRhs();
    Value zero = emit.integer(type, 0), one = emit.integer(type, 1),
          minusOne = emit.integer(type, -1);
    Value power = createPower(rewriter, op.getLoc(), emit, base, exponent);
    // 1 / base: 1 and -1 are their own inverses, all others round to 0.
    Value isOdd = emit.compare(CmpIPredicate::ne,
                               emit.create<arith::AndIOp>(exponent, one), zero);
    Value inverse =
        emit.select(emit.compare(CmpIPredicate::eq, base, one), one,
                    emit.select(emit.compare(CmpIPredicate::eq, base, minusOne),
                                emit.select(isOdd, minusOne, one), zero));
    Value isNegative = emit.compare(CmpIPredicate::slt, exponent, zero);
    rewriter.replaceOp(op, emit.select(isNegative, inverse, power));
    return success();
  }

private:
  /// `base` to the power of `exponent`, which is taken for unsigned: a square
  /// for each bit of it.
  static Value createPower(OpBuilder &builder, Location loc, Emitter &emit,
                           Value base, Value exponent) {
    Type type = base.getType();
    unsigned width = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
    Value zero = emit.integer(type, 0), one = emit.integer(type, 1);
    Value first = arith::ConstantIndexOp::create(builder, loc, 0);
    Value count = arith::ConstantIndexOp::create(builder, loc, width);
    Value step = arith::ConstantIndexOp::create(builder, loc, 1);
    auto loop = scf::ForOp::create(
        builder, loc, first, count, step, ValueRange{one, base, exponent},
        [&](OpBuilder &, Location, Value, ValueRange values) {
          Value result = values[0], square = values[1], rest = values[2];
          Value bit = emit.create<arith::AndIOp>(rest, one);
          Value isSet = emit.compare(arith::CmpIPredicate::ne, bit, zero);
          Value product = emit.create<arith::MulIOp>(result, square);
          result = emit.select(isSet, product, result);
          square = emit.create<arith::MulIOp>(square, square);
          // A shift by the width is undefined.
          rest = width == 1 ? zero : emit.create<arith::ShRUIOp>(rest, one);
          scf::YieldOp::create(builder, loc, ValueRange{result, square, rest});
        });
    return loop.getResult(0);
  }
};

struct MoEExpandScalarMathPass
    : public moe::impl::MoEExpandScalarMathPassBase<MoEExpandScalarMathPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandClass<math::IsFiniteOp>, ExpandClass<math::IsInfOp>,
                 ExpandClass<math::IsNaNOp>, ExpandClass<math::IsNormalOp>,
                 ExpandIPowI>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
