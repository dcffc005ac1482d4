//===- MoEFolders.cpp - canonicalizations of the moe dialect --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Makes a collective as static as its operands: an operand that is a cast from
/// a more static type is replaced by the source of the cast, and the results
/// get the types that follow. The number of tokens stands in several operands,
/// so what one cast says about it is spread to the others.
template <typename OpTy>
struct FoldStaticTokens : public OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  /// The operands whose leading dimension is the number of tokens.
  static SmallVector<OpOperand *> tokenOperands(DispatchOp op) {
    SmallVector<OpOperand *> operands = {&op.getXMutable()};
    for (MutableOperandRange range :
         {op.getTopkIdxMutable(), op.getTopkWeightsMutable(),
          op.getScalesMutable(), op.getReuseMutable()})
      for (OpOperand &operand : range)
        operands.push_back(&operand);
    return operands;
  }
  static SmallVector<OpOperand *> tokenOperands(CombineOp op) {
    SmallVector<OpOperand *> operands = {&op.getSendRowMutable()};
    for (OpOperand &operand : MutableOperandRange(op.getTopkMutable()))
      operands.push_back(&operand);
    return operands;
  }
  static SmallVector<OpOperand *> tokenOperands(AllToAllvOp op) {
    return {&op.getSendMutable()};
  }

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (!op.isTensorForm())
      return rewriter.notifyMatchFailure(op, "not in tensor form");
    SmallVector<OpOperand *> operands = tokenOperands(op);
    if (!cast<ShapedType>(operands.front()->get().getType()).isDynamicDim(0))
      return rewriter.notifyMatchFailure(op, "number of tokens is static");

    // The number of tokens that some operand was cast from.
    int64_t numTokens = ShapedType::kDynamic;
    for (OpOperand *operand : operands)
      if (auto cast = operand->get().getDefiningOp<tensor::CastOp>())
        if (auto source =
                dyn_cast<RankedTensorType>(cast.getSource().getType()))
          if (!source.isDynamicDim(0))
            numTokens = source.getDimSize(0);
    if (ShapedType::isDynamic(numTokens))
      return rewriter.notifyMatchFailure(op, "no operand has static tokens");
    // T_max is the static number of tokens where there is one. Rows are
    // numbered with it, so it has to stay what it was.
    if (std::optional<uint64_t> bound = maxTokens(op))
      if (numTokens != static_cast<int64_t>(*bound))
        return rewriter.notifyMatchFailure(op, "max_tokens is another number");

    auto withTokens = [&](RankedTensorType type) {
      SmallVector<int64_t> shape(type.getShape());
      shape.front() = numTokens;
      return type.clone(shape);
    };
    IRMapping mapping;
    for (OpOperand *operand : operands) {
      auto type = cast<RankedTensorType>(operand->get().getType());
      auto castOp = operand->get().getDefiningOp<tensor::CastOp>();
      RankedTensorType wanted = withTokens(type);
      Value value = castOp && castOp.getSource().getType() == wanted
                        ? castOp.getSource()
                        : tensor::CastOp::create(rewriter, op.getLoc(), wanted,
                                                 operand->get());
      mapping.map(operand->get(), value);
    }
    SmallVector<Type> types;
    for (Type type : op->getResultTypes()) {
      auto tensor = cast<RankedTensorType>(type);
      types.push_back(tensor.isDynamicDim(0) ? withTokens(tensor) : tensor);
    }

    Operation *newOp = rewriter.clone(*op, mapping);
    SmallVector<Value> results;
    for (auto [result, type] : llvm::zip(newOp->getResults(), types)) {
      Type oldType = result.getType();
      result.setType(type);
      results.push_back(
          oldType == type
              ? Value(result)
              : tensor::CastOp::create(rewriter, op.getLoc(), oldType, result));
    }
    rewriter.replaceOp(op, results);
    return success();
  }

  static std::optional<uint64_t> maxTokens(DispatchOp op) {
    return op.getMaxTokens();
  }
  static std::optional<uint64_t> maxTokens(CombineOp op) {
    return op.getMaxTokens();
  }
  static std::optional<uint64_t> maxTokens(AllToAllvOp) { return {}; }
};

/// Sends no scales that nobody reads.
struct DropUnusedScales : public OpRewritePattern<DispatchOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DispatchOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.isTensorForm() || !op.getScales())
      return rewriter.notifyMatchFailure(op, "sends no scales");
    constexpr unsigned scales = 1;
    if (!op->getResult(scales).use_empty())
      return rewriter.notifyMatchFailure(op, "scales are used");

    SmallVector<Type> types(op->getResultTypes());
    types.erase(types.begin() + scales);
    auto newOp = DispatchOp::create(
        rewriter, op.getLoc(), types, op.getX(), op.getTopkIdx(),
        op.getTopkWeights(), /*scales=*/Value(), op.getReuse(),
        op.getPeerBlocks(), op.getPeerRows(), op.getOuts(), op.getGridAttr(),
        op.getNumExpertsAttr(), op.getLayoutAttr(), op.getOrderAttr(),
        op.getOverflowAttr(), op.getAlignmentAttr(), op.getPaddingAttr(),
        op.getListAlignmentAttr(), op.getKeepBlocksAttr(), op.getCapacityAttr(),
        op.getMaxTokensAttr(), op.getAlgorithmAttr(), op.getScheduleAttr(),
        op.getKernelAttr());
    newOp->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    SmallVector<Value> results(newOp->getResults());
    results.insert(results.begin() + scales, Value());
    rewriter.replaceOp(op, results);
    return success();
  }
};

} // namespace

void DispatchOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                             MLIRContext *context) {
  patterns.add<FoldStaticTokens<DispatchOp>, DropUnusedScales>(context);
}

void CombineOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<FoldStaticTokens<CombineOp>>(context);
}

void AllToAllvOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<FoldStaticTokens<AllToAllvOp>>(context);
}
