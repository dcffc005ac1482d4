//===- DecomposeAggregates.cpp - Softmax and its like in parts ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEDECOMPOSEAGGREGATESPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// A tensor with the elements of `input` converted to `element`.
static Value convertElements(OpBuilder &builder, Location loc, Value input,
                             Type element) {
  auto type = cast<RankedTensorType>(input.getType());
  Value empty = tensor::EmptyOp::create(
      builder, loc, tensor::getMixedSizes(builder, loc, input), element);
  SmallVector<AffineMap> maps(2,
                              builder.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(),
                                             utils::IteratorType::parallel);
  bool isWider = element.getIntOrFloatBitWidth() >
                 type.getElementType().getIntOrFloatBitWidth();
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    Value value =
        isWider ? Value(arith::ExtFOp::create(b, loc, element, args.front()))
                : Value(arith::TruncFOp::create(b, loc, element, args.front()));
    linalg::YieldOp::create(b, loc, value);
  };
  return linalg::GenericOp::create(builder, loc, empty.getType(), input, empty,
                                   maps, iterators, body)
      .getResult(0);
}

namespace {

/// The sum of a softmax of small floats would stop growing where half a unit in
/// the last place is more than the next exponential.
struct WidenSoftmax : public OpRewritePattern<linalg::SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::SoftmaxOp op,
                                PatternRewriter &rewriter) const override {
    auto element =
        dyn_cast<FloatType>(op.getInputOperandType().getElementType());
    if (op->getNumResults() == 0 || !element || element.getWidth() >= 32)
      return rewriter.notifyMatchFailure(op, "no tensors of small floats");
    Location loc = op.getLoc();
    Type f32 = rewriter.getF32Type();
    Value input = convertElements(rewriter, loc, op.getInput(), f32);
    Value output = tensor::EmptyOp::create(
        rewriter, loc, tensor::getMixedSizes(rewriter, loc, op.getInput()),
        f32);
    Value wide = linalg::SoftmaxOp::create(rewriter, loc, output.getType(),
                                           input, output, op.getDimension())
                     .getResult()
                     .front();
    rewriter.replaceOp(op, convertElements(rewriter, loc, wide, element));
    return success();
  }
};

struct DecomposeAggregate
    : public OpInterfaceRewritePattern<linalg::AggregatedOpInterface> {
  using OpInterfaceRewritePattern::OpInterfaceRewritePattern;

  LogicalResult matchAndRewrite(linalg::AggregatedOpInterface op,
                                PatternRewriter &rewriter) const override {
    // The interface has no form for buffers.
    if (op->getNumResults() == 0)
      return failure();
    FailureOr<SmallVector<Value>> parts = op.decomposeOperation(rewriter);
    if (failed(parts))
      return failure();
    rewriter.replaceOp(op, *parts);
    return success();
  }
};

struct MoEDecomposeAggregatesPass
    : public moe::impl::MoEDecomposeAggregatesPassBase<
          MoEDecomposeAggregatesPass> {
  using MoEDecomposeAggregatesPassBase::MoEDecomposeAggregatesPassBase;

  void runOnOperation() override {
    RewritePatternSet widen(&getContext());
    widen.add<WidenSoftmax>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(widen));
    RewritePatternSet patterns(&getContext());
    patterns.add<DecomposeAggregate>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
