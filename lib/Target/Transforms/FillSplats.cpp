//===- FillSplats.cpp - Large constants of one value are computed ---------===//
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
#include "mlir/Interfaces/DestinationStyleOpInterface.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEFILLSPLATSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Up to so many bytes, a constant stays in the artifact, as others do.
static constexpr int64_t kMostBytes = 1 << 16;

/// The value that a large constant has everywhere, if it has only one.
static SplatElementsAttr findLargeSplat(arith::ConstantOp op) {
  auto splat = dyn_cast<SplatElementsAttr>(op.getValue());
  auto type = dyn_cast<RankedTensorType>(op.getType());
  if (!splat || !type || type.getEncoding())
    return {};
  Type element = type.getElementType();
  if (!element.isIntOrIndexOrFloat())
    return {};
  int64_t bytes = element.isIndex()
                      ? 8
                      : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  return type.getNumElements() > kMostBytes / bytes ? splat
                                                    : SplatElementsAttr();
}

static Value createEmpty(OpBuilder &builder, Location loc,
                         SplatElementsAttr splat) {
  auto type = cast<RankedTensorType>(splat.getType());
  return tensor::EmptyOp::create(builder, loc, type.getShape(),
                                 type.getElementType());
}

static Value createFill(OpBuilder &builder, Location loc,
                        SplatElementsAttr splat) {
  auto type = cast<RankedTensorType>(splat.getType());
  Value empty = createEmpty(builder, loc, splat);
  Value value = arith::ConstantOp::create(builder, loc, type.getElementType(),
                                          splat.getSplatValue<TypedAttr>());
  return linalg::FillOp::create(builder, loc, value, empty).getResult(0);
}

static bool isDestination(OpOperand &use) {
  auto op = dyn_cast<DestinationStyleOpInterface>(use.getOwner());
  return op && op.isDpsInit(&use);
}

/// Whether the op only writes: arithmetic on whole tensors that has become
/// linalg takes its first operand as destination.
static bool isOverwritten(OpOperand &use) {
  auto op = dyn_cast<linalg::LinalgOp>(use.getOwner());
  return op && !op.payloadUsesValueFromOperand(&use);
}

namespace {

struct MoEFillSplatsPass
    : public moe::impl::MoEFillSplatsPassBase<MoEFillSplatsPass> {
  void runOnOperation() override {
    SmallVector<std::pair<arith::ConstantOp, SplatElementsAttr>> constants;
    getOperation()->walk([&](arith::ConstantOp op) {
      if (SplatElementsAttr splat = findLargeSplat(op))
        constants.emplace_back(op, splat);
    });
    if (constants.empty())
      return markAllAnalysesPreserved();
    for (auto [op, splat] : constants) {
      // Each op that writes into the constant gets one of its own: what
      // several shared would be copied.
      for (OpOperand &use : llvm::make_early_inc_range(op->getUses()))
        if (isDestination(use)) {
          OpBuilder builder(use.getOwner());
          use.set(isOverwritten(use) ? createEmpty(builder, op.getLoc(), splat)
                                     : createFill(builder, op.getLoc(), splat));
        }
      if (!op->use_empty()) {
        OpBuilder builder(op);
        op.getResult().replaceAllUsesWith(
            createFill(builder, op.getLoc(), splat));
      }
      op.erase();
    }
  }
};

} // namespace
