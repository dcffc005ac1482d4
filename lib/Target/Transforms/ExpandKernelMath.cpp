//===- ExpandKernelMath.cpp - Math functions on the device ----------------===//
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
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEEXPANDKERNELMATHPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

/// What the code generator has an instruction for. As a call: the lowering of
/// kernels looks for a library function for the op of the intrinsic.
template <typename OpTy> struct UseIntrinsic : public OpRewritePattern<OpTy> {
  UseIntrinsic(MLIRContext *context, StringRef intrinsic)
      : OpRewritePattern<OpTy>(context), intrinsic(intrinsic) {}

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (!LLVM::isCompatibleType(op.getType()))
      return failure();
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
        op, op.getType(), rewriter.getStringAttr(intrinsic), op->getOperands());
    return success();
  }

  StringRef intrinsic;
};

template <typename OpTy, typename IntrinsicOpTy>
struct UseCountIntrinsic : public OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (!LLVM::isCompatibleType(op.getType()))
      return failure();
    rewriter.replaceOpWithNewOp<IntrinsicOpTy>(op, op.getType(),
                                               op.getOperand(),
                                               /*is_zero_poison=*/false);
    return success();
  }
};

/// Polynomials are for f32 and what is computed in f32.
LogicalResult checkIsNoF64(Operation *op) {
  if (!isa<math::AcosOp, math::AcoshOp, math::AsinOp, math::AsinhOp,
           math::AtanOp, math::Atan2Op, math::AtanhOp, math::CbrtOp,
           math::CosOp, math::CoshOp, math::ErfOp, math::ErfcOp, math::ExpOp,
           math::Exp2Op, math::ExpM1Op, math::LogOp, math::Log10Op,
           math::Log1pOp, math::Log2Op, math::PowFOp, math::SinOp, math::SinhOp,
           math::TanOp, math::TanhOp>(op))
    return success();
  Type type = op->getResult(0).getType();
  if (!getElementTypeOrSelf(type).isF64())
    return success();
  return op->emitOpError("expects f32 or a smaller float in a kernel (")
         << type << ')';
}

/// log10(x) = log2(x) * log10(2): there is a polynomial for log2.
struct ExpandLog10 : public OpRewritePattern<math::Log10Op> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::Log10Op op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32())
      return rewriter.notifyMatchFailure(op, "not of f32");
    TypedAttr factor = rewriter.getF32FloatAttr(0.301029996f);
    if (auto vector = dyn_cast<VectorType>(type))
      factor = DenseElementsAttr::get(vector, Attribute(factor));
    Value log2 = math::Log2Op::create(rewriter, op.getLoc(), op.getOperand());
    rewriter.replaceOpWithNewOp<arith::MulFOp>(
        op, log2, arith::ConstantOp::create(rewriter, op.getLoc(), factor));
    return success();
  }
};

struct MoEExpandKernelMathPass
    : public moe::impl::MoEExpandKernelMathPassBase<MoEExpandKernelMathPass> {
  void runOnOperation() override {
    // Rest first: what becomes exp or log is approximated afterwards.
    SmallVector<StringRef> names = {"sinh",  "cosh", "tan",  "asinh", "acosh",
                                    "atanh", "powf", "exp2", "fpowi", "rsqrt"};
    RewritePatternSet patterns(&getContext());
    math::populateExpansionPatterns(patterns, names);
    populateMathPolynomialApproximationPatterns(patterns);
    patterns.add<ExpandLog10>(&getContext());
    patterns.add<UseIntrinsic<math::SqrtOp>>(&getContext(), "llvm.sqrt");
    patterns.add<UseIntrinsic<math::FloorOp>>(&getContext(), "llvm.floor");
    patterns.add<UseIntrinsic<math::CeilOp>>(&getContext(), "llvm.ceil");
    patterns.add<UseIntrinsic<math::TruncOp>>(&getContext(), "llvm.trunc");
    patterns.add<UseIntrinsic<math::RoundOp>>(&getContext(), "llvm.round");
    patterns.add<UseIntrinsic<math::RoundEvenOp>>(&getContext(),
                                                  "llvm.roundeven");
    patterns.add<UseIntrinsic<math::AbsFOp>>(&getContext(), "llvm.fabs");
    patterns.add<UseIntrinsic<math::CopySignOp>>(&getContext(),
                                                 "llvm.copysign");
    patterns.add<UseIntrinsic<math::FmaOp>>(&getContext(), "llvm.fma");
    patterns.add<UseIntrinsic<math::CtPopOp>>(&getContext(), "llvm.ctpop");
    patterns.add<UseCountIntrinsic<math::CountTrailingZerosOp,
                                   LLVM::CountTrailingZerosOp>,
                 UseCountIntrinsic<math::CountLeadingZerosOp,
                                   LLVM::CountLeadingZerosOp>>(&getContext());
    FrozenRewritePatternSet frozen(std::move(patterns));
    for (auto module : getOperation().getOps<gpu::GPUModuleOp>()) {
      WalkResult checked = module.walk([](Operation *op) {
        return failed(checkIsNoF64(op)) ? WalkResult::interrupt()
                                        : WalkResult::advance();
      });
      if (checked.wasInterrupted() ||
          failed(applyPatternsGreedily(module, frozen)))
        return signalPassFailure();
    }
  }
};

} // namespace
