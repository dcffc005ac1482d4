//===- DecomposeTensorOps.cpp - Tensor ops without buffers as loops -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEDECOMPOSETENSOROPSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

static Value createIndex(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

/// Computes an element from the indices of its place.
using ElementBuilder =
    llvm::function_ref<Value(OpBuilder &, Location, ArrayRef<Value>)>;

/// A loop over all elements of `init`, each of which `build` computes.
static Value createElements(RewriterBase &rewriter, Location loc, Value init,
                            ElementBuilder build) {
  auto type = cast<RankedTensorType>(init.getType());
  SmallVector<utils::IteratorType> iterators(type.getRank(),
                                             utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      rewriter, loc, type, ValueRange(), init,
      rewriter.getMultiDimIdentityMap(type.getRank()), iterators,
      [&](OpBuilder &builder, Location loc, ValueRange) {
        SmallVector<Value> indices;
        for (int64_t dim = 0; dim < type.getRank(); ++dim)
          indices.push_back(linalg::IndexOp::create(builder, loc, dim));
        linalg::YieldOp::create(builder, loc, build(builder, loc, indices));
      });
  return generic.getResult(0);
}

static Value createExtract(OpBuilder &builder, Location loc, Value tensor,
                           ValueRange indices) {
  return tensor::ExtractOp::create(builder, loc, tensor, indices);
}

static Value toIndex(OpBuilder &builder, Location loc, Value value) {
  if (value.getType().isIndex())
    return value;
  return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                    value);
}

namespace {

struct DecomposeGather : public OpRewritePattern<tensor::GatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::GatherOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    RankedTensorType type = op.getResultType();
    int64_t batchRank = op.getIndicesType().getRank() - 1;
    int64_t sourceRank = op.getSourceType().getRank();
    ArrayRef<int64_t> dims = op.getGatherDims();
    // Gathered dimensions are of extent 1 in the result, or not there.
    bool isFullRank = type.getRank() == batchRank + sourceRank;

    SmallVector<Value> sizes;
    for (int64_t dim = 0, next = 0; dim < type.getRank(); ++dim) {
      // The source dimension that a trailing one of the result comes from.
      if (dim >= batchRank) {
        while (!isFullRank && llvm::is_contained(dims, next))
          ++next;
      }
      if (type.isDynamicDim(dim))
        sizes.push_back(
            dim < batchRank
                ? tensor::DimOp::create(rewriter, loc, op.getIndices(), dim)
                      .getResult()
                : tensor::DimOp::create(rewriter, loc, op.getSource(), next)
                      .getResult());
      if (dim >= batchRank)
        ++next;
    }
    Value init = tensor::EmptyOp::create(rewriter, loc, type, sizes);
    rewriter.replaceOp(
        op,
        createElements(
            rewriter, loc, init,
            [&](OpBuilder &builder, Location loc, ArrayRef<Value> at) {
              SmallVector<Value> place;
              int64_t next = batchRank;
              for (int64_t dim = 0; dim < sourceRank; ++dim) {
                const auto *it = llvm::find(dims, dim);
                if (it == dims.end()) {
                  place.push_back(at[next++]);
                  continue;
                }
                next += isFullRank;
                SmallVector<Value> where(at.take_front(batchRank));
                where.push_back(createIndex(builder, loc, it - dims.begin()));
                place.push_back(toIndex(
                    builder, loc,
                    createExtract(builder, loc, op.getIndices(), where)));
              }
              return createExtract(builder, loc, op.getSource(), place);
            }));
    return success();
  }
};

struct DecomposeBitcast : public OpRewritePattern<tensor::BitcastOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::BitcastOp op,
                                PatternRewriter &rewriter) const override {
    auto type = dyn_cast<RankedTensorType>(op.getType());
    auto sourceType = dyn_cast<RankedTensorType>(op.getSource().getType());
    if (!type || !sourceType)
      return rewriter.notifyMatchFailure(op, "not ranked");
    Location loc = op.getLoc();
    Value init = tensor::EmptyOp::create(
        rewriter, loc, tensor::getMixedSizes(rewriter, loc, op.getSource()),
        type.getElementType());
    Value bits = createElements(
        rewriter, loc, init,
        [&](OpBuilder &builder, Location loc, ArrayRef<Value> at) -> Value {
          Value element = createExtract(builder, loc, op.getSource(), at);
          if (element.getType() == type.getElementType())
            return element;
          return arith::BitcastOp::create(builder, loc, type.getElementType(),
                                          element);
        });
    if (bits.getType() != type)
      bits = tensor::CastOp::create(rewriter, loc, type, bits);
    rewriter.replaceOp(op, bits);
    return success();
  }
};

/// Where the dimensions of an unpacked tensor are in its packed form.
struct PackedDims {
  /// By unpacked dimension: its outer dimension in the packed form.
  SmallVector<int64_t> outer;
  /// By unpacked dimension: its inner dimension in the packed form, or -1.
  SmallVector<int64_t> inner;

  template <typename OpTy> PackedDims(OpTy op, int64_t rank) {
    outer.resize(rank);
    inner.assign(rank, -1);
    ArrayRef<int64_t> permutation = op.getOuterDimsPerm();
    for (int64_t dim = 0; dim < rank; ++dim)
      outer[permutation.empty() ? dim : permutation[dim]] = dim;
    for (auto [index, dim] : llvm::enumerate(op.getInnerDimsPos()))
      inner[dim] = rank + static_cast<int64_t>(index);
  }
};

/// Upstream's lowerings are for static shapes only.
struct DecomposePack : public OpRewritePattern<linalg::PackOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::PackOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value source = op.getSource(), padding = op.getPaddingValue();
    int64_t rank = cast<RankedTensorType>(source.getType()).getRank();
    PackedDims dims(op, rank);
    rewriter.replaceOp(
        op, createElements(
                rewriter, loc, op.getDest(),
                [&](OpBuilder &builder, Location loc, ArrayRef<Value> at) {
                  return createElement(builder, loc, op.getDest(), source,
                                       padding, dims, at);
                }));
    return success();
  }

private:
  static Value createElement(OpBuilder &builder, Location loc, Value packed,
                             Value source, Value padding,
                             const PackedDims &dims, ArrayRef<Value> at) {
    SmallVector<Value> place;
    Value isInside;
    for (auto [dim, outer] : llvm::enumerate(dims.outer)) {
      int64_t inner = dims.inner[dim];
      if (inner < 0) {
        place.push_back(at[outer]);
        continue;
      }
      Value tile = tensor::DimOp::create(builder, loc, packed, inner);
      Value start = arith::MulIOp::create(builder, loc, at[outer], tile);
      place.push_back(arith::AddIOp::create(builder, loc, start, at[inner]));
      if (!padding)
        continue;
      Value extent = tensor::DimOp::create(builder, loc, source, dim);
      Value fits = arith::CmpIOp::create(
          builder, loc, arith::CmpIPredicate::ult, place.back(), extent);
      isInside =
          isInside
              ? arith::AndIOp::create(builder, loc, isInside, fits).getResult()
              : fits;
    }
    if (!isInside)
      return createExtract(builder, loc, source, place);
    auto choice = scf::IfOp::create(
        builder, loc, isInside,
        [&](OpBuilder &builder, Location loc) {
          scf::YieldOp::create(builder, loc,
                               createExtract(builder, loc, source, place));
        },
        [&](OpBuilder &builder, Location loc) {
          scf::YieldOp::create(builder, loc, padding);
        });
    return choice.getResult(0);
  }
};

struct DecomposeUnPack : public OpRewritePattern<linalg::UnPackOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::UnPackOp op,
                                PatternRewriter &rewriter) const override {
    Value source = op.getSource();
    auto type = cast<RankedTensorType>(op.getDest().getType());
    PackedDims dims(op, type.getRank());
    rewriter.replaceOp(
        op, createElements(
                rewriter, op.getLoc(), op.getDest(),
                [&](OpBuilder &builder, Location loc, ArrayRef<Value> at) {
                  return createElement(builder, loc, source, dims, at);
                }));
    return success();
  }

private:
  static Value createElement(OpBuilder &builder, Location loc, Value packed,
                             const PackedDims &dims, ArrayRef<Value> at) {
    auto type = cast<RankedTensorType>(packed.getType());
    SmallVector<Value> place(type.getRank());
    for (auto [dim, outer] : llvm::enumerate(dims.outer)) {
      int64_t inner = dims.inner[dim];
      if (inner < 0) {
        place[outer] = at[dim];
        continue;
      }
      Value tile = tensor::DimOp::create(builder, loc, packed, inner);
      place[outer] = arith::DivUIOp::create(builder, loc, at[dim], tile);
      place[inner] = arith::RemUIOp::create(builder, loc, at[dim], tile);
    }
    return createExtract(builder, loc, packed, place);
  }
};

struct MoEDecomposeTensorOpsPass
    : public moe::impl::MoEDecomposeTensorOpsPassBase<
          MoEDecomposeTensorOpsPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns
        .add<DecomposeBitcast, DecomposeGather, DecomposePack, DecomposeUnPack>(
            &getContext());
    tensor::populateDecomposeTensorConcatPatterns(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
