//===- ExpandFloat8.cpp - 8-bit float conversions in integer ops ----------===//
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

namespace mlir::moe {
#define GEN_PASS_DEF_MOEEXPANDFLOAT8PASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// An 8-bit float format: 1 sign, `exponentBits`, `mantissaBits`.
struct Float8Format {
  int exponentBits;
  int mantissaBits;
  bool hasInfinity;

  int bias() const { return (1 << (exponentBits - 1)) - 1; }
  /// Bits of the largest finite value.
  int maxFinite() const { return hasInfinity ? 0x7b : 0x7e; }
  /// Bits of what a value beyond the range becomes: infinity, or NaN.
  int overflow() const { return hasInfinity ? 0x7c : 0x7f; }
  int nan() const { return hasInfinity ? 0x7e : 0x7f; }

  static std::optional<Float8Format> get(Type type) {
    if (isa<Float8E4M3FNType>(type))
      return Float8Format{4, 3, false};
    if (isa<Float8E5M2Type>(type))
      return Float8Format{5, 2, true};
    return std::nullopt;
  }
};

/// The format of an 8-bit float or of a vector of them.
std::optional<Float8Format> getFormat(Type type) {
  if (isa<ShapedType>(type) && !isa<VectorType>(type))
    return std::nullopt;
  return Float8Format::get(getElementTypeOrSelf(type));
}

/// Shorthands for arithmetic on i32, or on vectors of the same shape as `like`.
struct Bits {
  ImplicitLocOpBuilder &b;
  Type like;

  Type of(Type element) {
    auto vector = dyn_cast<VectorType>(like);
    return vector ? Type(vector.clone(element)) : element;
  }
  Value splat(TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(of(value.getType())))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return arith::ConstantOp::create(b, value);
  }
  Value c(int64_t value) { return splat(b.getI32IntegerAttr(value)); }
  Value f(float value) { return splat(b.getF32FloatAttr(value)); }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
  Value shl(Value x, Value y) { return arith::ShLIOp::create(b, x, y); }
  Value shr(Value x, Value y) { return arith::ShRUIOp::create(b, x, y); }
  Value bitAnd(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
  Value bitOr(Value x, Value y) { return arith::OrIOp::create(b, x, y); }
  Value cmp(arith::CmpIPredicate p, Value x, Value y) {
    return arith::CmpIOp::create(b, p, x, y);
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, c, x, y);
  }
  Value toFloat(Value x) {
    return arith::BitcastOp::create(b, of(b.getF32Type()), x);
  }
  Value toBits(Value x) {
    return arith::BitcastOp::create(b, of(b.getI32Type()), x);
  }
};

/// f8 -> f32, exact. Normal numbers: move the bits and adjust the bias.
/// Subnormals: the mantissa as an integer times the smallest subnormal. f16 and
/// bf16 hold all values of f8 too.
struct ExpandFloat8ExtF : public OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::ExtFOp op,
                                PatternRewriter &rewriter) const override {
    auto format = getFormat(op.getIn().getType());
    if (!format)
      return rewriter.notifyMatchFailure(op, "not from an 8-bit float");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Bits bits{b, op.getType()};
    Value raw = arith::ExtUIOp::create(
        b, bits.of(b.getI32Type()),
        arith::BitcastOp::create(b, bits.of(b.getI8Type()), op.getIn()));
    Value sign = bits.shl(bits.bitAnd(raw, bits.c(0x80)), bits.c(24));
    Value magnitude = bits.bitAnd(raw, bits.c(0x7f));

    Value normal =
        bits.add(bits.shl(magnitude, bits.c(23 - format->mantissaBits)),
                 bits.c((127 - format->bias()) << 23));
    float smallest =
        std::ldexp(1.0f, 1 - format->bias() - format->mantissaBits);
    Value asFloat =
        arith::UIToFPOp::create(b, bits.of(b.getF32Type()), magnitude);
    Value subnormal =
        bits.toBits(arith::MulFOp::create(b, asFloat, bits.f(smallest)));
    Value isSubnormal = bits.cmp(arith::CmpIPredicate::ult, magnitude,
                                 bits.c(1 << format->mantissaBits));
    Value value = bits.select(isSubnormal, subnormal, normal);

    Value isNaN = bits.cmp(arith::CmpIPredicate::ugt, magnitude,
                           bits.c(format->hasInfinity ? 0x7c : 0x7e));
    value = bits.select(isNaN, bits.c(0x7fc00000), value);
    if (format->hasInfinity) {
      Value isInf = bits.cmp(arith::CmpIPredicate::eq, magnitude, bits.c(0x7c));
      value = bits.select(isInf, bits.c(0x7f800000), value);
    }
    Value wide = bits.toFloat(bits.bitOr(sign, value));
    if (getElementTypeOrSelf(op.getType()).isF64())
      wide = arith::ExtFOp::create(b, op.getType(), wide);
    else if (wide.getType() != op.getType())
      wide = arith::TruncFOp::create(b, op.getType(), wide);
    rewriter.replaceOp(op, wide);
    return success();
  }
};

/// f32, f16 or bf16 -> f8, to nearest even. Normal results: add half an ulp
/// (less one when the last kept bit is even) and shift. Subnormal results:
/// adding a constant whose ulp is the smallest subnormal rounds in the float
/// adder.
struct ExpandFloat8TruncF : public OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::TruncFOp op,
                                PatternRewriter &rewriter) const override {
    auto format = getFormat(op.getType());
    if (!format || getElementTypeOrSelf(op.getIn().getType()).isF64())
      return rewriter.notifyMatchFailure(op, "not to an 8-bit float, or f64");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Bits bits{b, op.getType()};
    Value wide = op.getIn();
    if (!getElementTypeOrSelf(wide.getType()).isF32())
      wide = arith::ExtFOp::create(b, bits.of(b.getF32Type()), wide);
    Value raw = bits.toBits(wide);
    Value sign = bits.shr(bits.bitAnd(raw, bits.c(0x80000000)), bits.c(24));
    Value magnitude = bits.bitAnd(raw, bits.c(0x7fffffff));

    int shift = 23 - format->mantissaBits;
    Value odd = bits.bitAnd(bits.shr(magnitude, bits.c(shift)), bits.c(1));
    Value rounded =
        bits.add(bits.add(magnitude, bits.c((1 << (shift - 1)) - 1)), odd);
    Value normal = bits.shr(
        bits.sub(rounded, bits.c((127 - format->bias()) << 23)), bits.c(shift));

    // 2^(smallest subnormal's exponent + 23): its ulp in f32 is the smallest
    // subnormal, so the sum's low bits are the rounded f8 mantissa.
    float magic =
        std::ldexp(1.0f, 1 - format->bias() - format->mantissaBits + 23);
    Value sum =
        arith::AddFOp::create(b, bits.toFloat(magnitude), bits.f(magic));
    Value subnormal = bits.sub(bits.toBits(sum), bits.toBits(bits.f(magic)));
    int minNormal = (127 + 1 - format->bias()) << 23;
    Value isSubnormal =
        bits.cmp(arith::CmpIPredicate::ult, magnitude, bits.c(minNormal));
    Value value = bits.select(isSubnormal, subnormal, normal);

    Value overflows =
        bits.cmp(arith::CmpIPredicate::sgt, value, bits.c(format->maxFinite()));
    value = bits.select(overflows, bits.c(format->overflow()), value);
    Value isNaN =
        bits.cmp(arith::CmpIPredicate::ugt, magnitude, bits.c(0x7f800000));
    value = bits.select(isNaN, bits.c(format->nan()), value);
    Value byte = arith::TruncIOp::create(b, bits.of(b.getI8Type()),
                                         bits.bitOr(sign, value));
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, op.getType(), byte);
    return success();
  }
};

struct MoEExpandFloat8Pass
    : public moe::impl::MoEExpandFloat8PassBase<MoEExpandFloat8Pass> {
  using MoEExpandFloat8PassBase::MoEExpandFloat8PassBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandFloat8ExtF, ExpandFloat8TruncF>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
