//===- ExpandKernelMath.cpp - Math instructions of the device -------------===//
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

/// Converts a float to i1 by way of i32: for a direct conversion LLVM's code
/// generator for PTX tests whether the bits of the float are zero, and gives
/// the opposite.
template <typename OpTy>
struct ConvertToBoolByInteger : public OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isInteger(1))
      return failure();
    Type wide = rewriter.getI32Type();
    if (auto shaped = dyn_cast<ShapedType>(type))
      wide = shaped.clone(wide);
    Value integer = OpTy::create(rewriter, op.getLoc(), wide, op.getIn());
    rewriter.replaceOpWithNewOp<arith::TruncIOp>(op, type, integer);
    return success();
  }
};

struct MoEExpandKernelMathPass
    : public moe::impl::MoEExpandKernelMathPassBase<MoEExpandKernelMathPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
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
    patterns.add<ConvertToBoolByInteger<arith::FPToSIOp>,
                 ConvertToBoolByInteger<arith::FPToUIOp>>(&getContext());
    FrozenRewritePatternSet frozen(std::move(patterns));
    for (auto module : getOperation().getOps<gpu::GPUModuleOp>())
      if (failed(applyPatternsGreedily(module, frozen)))
        return signalPassFailure();
  }
};

} // namespace
