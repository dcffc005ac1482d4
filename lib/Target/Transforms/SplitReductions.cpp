//===- SplitReductions.cpp - Parallel loops for whole reductions ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

namespace mlir::moe {
#define GEN_PASS_DEF_MOESPLITREDUCTIONSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// What one thread adds up in the time of a few launches.
static constexpr int64_t kMaxSequential = 1024;

/// The op that combines elements, when its operands may be regrouped.
static Operation *findCombiner(linalg::LinalgOp op) {
  SmallVector<Operation *> combiners;
  if (!matchReduction(op.getRegionOutputArgs(), 0, combiners) ||
      combiners.size() != 1)
    return nullptr;
  // Those of floats round, so that their grouping shows. It is the same on all
  // targets, since all split.
  return isa<arith::AddFOp, arith::MulFOp, arith::MaximumFOp, arith::MinimumFOp,
             arith::MaxNumFOp, arith::MinNumFOp, arith::AddIOp, arith::MulIOp,
             arith::AndIOp, arith::OrIOp, arith::XOrIOp, arith::MaxSIOp,
             arith::MinSIOp, arith::MaxUIOp, arith::MinUIOp>(combiners.front())
             ? combiners.front()
             : nullptr;
}

/// How long a loop is taken to be: one of unknown length for a long one.
static int64_t getExtent(int64_t range) {
  return ShapedType::isDynamic(range) ? kMaxSequential + 1 : range;
}

/// Whether one thread would do all of `op`, and it is much.
static bool isWholeReduction(linalg::LinalgOp op) {
  uint64_t total = 1;
  for (auto [range, iterator] :
       llvm::zip_equal(op.getStaticLoopRanges(), op.getIteratorTypesArray())) {
    if (iterator != utils::IteratorType::reduction && range != 1)
      return false;
    total = llvm::SaturatingMultiply(total, uint64_t(getExtent(range)));
  }
  return total > uint64_t(kMaxSequential);
}

/// The length of the inner of two loops that a loop of `extent` becomes: its
/// divisor that is nearest to the square root, from above. 0 when there is none
/// that would help.
static int64_t chooseRatio(int64_t extent) {
  for (auto outer = static_cast<int64_t>(std::sqrt(double(extent))); outer >= 8;
       --outer)
    if (extent % outer == 0)
      return extent / outer;
  return 0;
}

/// Whether the loops decide by their dimensions alone which elements are read
/// and written. The upstream pattern takes that for granted: of an index, or of
/// an input that is read backwards, it would use those of the inner loop.
static bool hasPlainAccesses(linalg::LinalgOp op) {
  return !op.hasIndexSemantics() &&
         llvm::all_of(op.getIndexingMapsArray(), [](AffineMap map) {
           return llvm::all_of(map.getResults(), llvm::IsaPred<AffineDimExpr>);
         });
}

namespace {

/// One of several loops becomes parallel, and its results are combined.
struct SplitNest : public OpInterfaceRewritePattern<linalg::LinalgOp> {
  using OpInterfaceRewritePattern::OpInterfaceRewritePattern;

  LogicalResult matchAndRewrite(linalg::LinalgOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.hasPureTensorSemantics() || op.getNumDpsInits() != 1 ||
        op.hasIndexSemantics() || !isWholeReduction(op))
      return rewriter.notifyMatchFailure(op, "not a long reduction of all");
    std::optional<unsigned> loop = chooseLoop(op.getStaticLoopRanges());
    Operation *combiner = findCombiner(op);
    if (!loop || !combiner)
      return rewriter.notifyMatchFailure(op, "one loop, or not associative");
    std::optional<TypedAttr> neutral = arith::getNeutralElement(combiner);
    if (!neutral)
      return rewriter.notifyMatchFailure(op, "no neutral element");

    Location loc = op.getLoc();
    Value init = op.getDpsInitOperand(0)->get();
    Type element = getElementTypeOrSelf(init.getType());
    OpFoldResult extent = op.createLoopRanges(rewriter, loc)[*loop].size;
    Value empty = tensor::EmptyOp::create(rewriter, loc, {extent}, element);
    Value start = arith::ConstantOp::create(rewriter, loc, *neutral);
    Value partial =
        linalg::FillOp::create(rewriter, loc, start, empty).getResult(0);

    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    maps.back() =
        AffineMap::get(op.getNumLoops(), 0, rewriter.getAffineDimExpr(*loop));
    SmallVector<utils::IteratorType> iterators = op.getIteratorTypesArray();
    iterators[*loop] = utils::IteratorType::parallel;
    SmallVector<Value> inputs = llvm::to_vector(op.getDpsInputs());
    auto parts = linalg::GenericOp::create(rewriter, loc, partial.getType(),
                                           inputs, partial, maps, iterators);
    rewriter.cloneRegionBefore(op->getRegion(0), parts.getRegion(),
                               parts.getRegion().end());

    auto id = rewriter.getMultiDimIdentityMap(1);
    // The extents of the result are 1, where it has any.
    auto first =
        AffineMap::get(1, 0,
                       SmallVector<AffineExpr>(
                           cast<RankedTensorType>(init.getType()).getRank(),
                           rewriter.getAffineConstantExpr(0)),
                       rewriter.getContext());
    auto whole = linalg::GenericOp::create(
        rewriter, loc, init.getType(), parts.getResult(0), init,
        ArrayRef<AffineMap>{id, first}, utils::IteratorType::reduction,
        [&](OpBuilder &builder, Location loc, ValueRange values) {
          Operation *sum = builder.clone(*combiner);
          sum->setOperands(values);
          linalg::YieldOp::create(builder, loc, sum->getResults());
        });
    rewriter.replaceOp(op, whole.getResults());
    return success();
  }

private:
  /// The longest loop, the innermost of those, whose neighbours are neighbours
  /// in memory. None where no other loop would be left.
  static std::optional<unsigned> chooseLoop(ArrayRef<int64_t> ranges) {
    unsigned best = 0, numLoops = 0;
    for (auto [loop, range] : llvm::enumerate(ranges)) {
      numLoops += range != 1;
      if (getExtent(range) >= getExtent(ranges[best]))
        best = loop;
    }
    return numLoops > 1 ? std::optional<unsigned>(best) : std::nullopt;
  }
};

struct MoESplitReductionsPass
    : public moe::impl::MoESplitReductionsPassBase<MoESplitReductionsPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<SplitNest>(&getContext());
    // One loop becomes two, of which the inner is parallel.
    linalg::populateSplitReductionPattern(
        patterns, [](linalg::LinalgOp op) -> linalg::SplitReductionOptions {
          int64_t extent = ShapedType::getNumElements(op.getStaticLoopRanges());
          if (op.getNumDpsInits() != 1 || op.hasDynamicShape() ||
              !isWholeReduction(op) || !findCombiner(op) ||
              !hasPlainAccesses(op))
            return {};
          return {chooseRatio(extent), /*index=*/0, /*innerParallel=*/true};
        });
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
