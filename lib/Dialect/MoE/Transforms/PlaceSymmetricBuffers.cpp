//===- PlaceSymmetricBuffers.cpp - buffers of peers -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEPLACESYMMETRICBUFFERSPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The static, contiguous memref type of `type` in symmetric memory.
static MemRefType getSymmetricType(MemRefType type) {
  return MemRefType::get(type.getShape(), type.getElementType(), AffineMap(),
                         symm::SpaceAttr::get(type.getContext()));
}

/// Why the buffer of `alloc` cannot become symmetric in place; empty when it
/// can. On success `dealloc` is the op that ends its life.
static std::string findObstacle(memref::AllocOp alloc,
                                memref::DeallocOp &dealloc) {
  if (!alloc.getType().hasStaticShape() ||
      !alloc.getType().getLayout().isIdentity())
    return "its size is not static";
  SmallVector<Value> worklist = {alloc.getResult()};
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (auto op = dyn_cast<memref::DeallocOp>(user)) {
        if (dealloc || op->getBlock() != alloc->getBlock())
          return "it is not freed once, in the block that allocates it";
        dealloc = op;
        continue;
      }
      if (auto view = dyn_cast<ViewLikeOpInterface>(user)) {
        if (view.getViewSource() == value)
          worklist.push_back(view.getViewDest());
        continue;
      }
      if (user->hasTrait<OpTrait::IsTerminator>() || isa<CallOpInterface>(user))
        return ("it leaves through '" + user->getName().getStringRef() + "'")
            .str();
      if (auto store = dyn_cast<memref::StoreOp>(user))
        if (store.getValueToStore() == value)
          return "it is stored in another buffer";
      if (llvm::any_of(user->getResultTypes(), llvm::IsaPred<BaseMemRefType>))
        return ("'" + user->getName().getStringRef() + "' may alias it").str();
    }
  }
  if (!dealloc)
    return "it is not freed in the block that allocates it";
  return {};
}

namespace {

struct MoEPlaceSymmetricBuffersPass
    : public moe::impl::MoEPlaceSymmetricBuffersPassBase<
          MoEPlaceSymmetricBuffersPass> {
  using MoEPlaceSymmetricBuffersPassBase::MoEPlaceSymmetricBuffersPassBase;

  void runOnOperation() override {
    SmallVector<CollectiveOpInterface> ops;
    getOperation()->walk([&](CollectiveOpInterface op) {
      if (!op.isTensorForm())
        ops.push_back(op);
    });
    for (CollectiveOpInterface op : ops) {
      SmallVector<OpOperand *> operands;
      op.getSymmetricOperands(operands);
      for (OpOperand *operand : operands)
        place(op, *operand);
    }
  }

  void place(CollectiveOpInterface op, OpOperand &operand) {
    Value buffer = operand.get();
    if (symm::isSymmetric(buffer.getType()))
      return;
    // A buffer that an op before this one has made symmetric.
    if (auto cast = buffer.getDefiningOp<memref::MemorySpaceCastOp>()) {
      if (symm::isSymmetric(cast.getSource().getType())) {
        operand.set(cast.getSource());
        ++numInPlace;
        return;
      }
    }
    std::string obstacle = "it is not allocated here";
    if (auto alloc = buffer.getDefiningOp<memref::AllocOp>()) {
      memref::DeallocOp dealloc;
      obstacle = findObstacle(alloc, dealloc);
      if (obstacle.empty()) {
        operand.set(makeSymmetric(alloc, dealloc));
        ++numInPlace;
        return;
      }
    }
    stage(op, operand, obstacle);
  }

  /// Replaces an allocation by a symmetric buffer; returns it.
  static Value makeSymmetric(memref::AllocOp alloc, memref::DeallocOp dealloc) {
    OpBuilder builder(alloc);
    Location loc = alloc.getLoc();
    Value symmetric =
        symm::AllocOp::create(builder, loc, getSymmetricType(alloc.getType()),
                              /*persistent=*/false, /*offset=*/IntegerAttr());
    Value local = memref::MemorySpaceCastOp::create(builder, loc,
                                                    alloc.getType(), symmetric);
    builder.setInsertionPoint(dealloc);
    symm::FreeOp::create(builder, dealloc.getLoc(), symmetric);
    dealloc.erase();
    alloc.replaceAllUsesWith(local);
    alloc.erase();
    return symmetric;
  }

  /// Gives `operand` a symmetric buffer of its own and copies: before the op
  /// when it is an input, after it when it is one of `outs`.
  void stage(CollectiveOpInterface op, OpOperand &operand,
             const std::string &obstacle) {
    ++numCopied;
    bool isOut = operand.getOperandNumber() >= op.getInputs().size();
    auto opts = remark::RemarkOpts::name("symmetric-buffer")
                    .category("moe-place-symmetric-buffers");
    remark::missed(op.getLoc(), opts)
        << ("operand #" + Twine(operand.getOperandNumber()) + " is copied " +
            (isOut ? "from" : "to") + " symmetric memory: " + obstacle)
               .str();

    Value buffer = operand.get();
    OpBuilder builder(op);
    Location loc = op->getLoc();
    Value symmetric = symm::AllocOp::create(
        builder, loc, getSymmetricType(cast<MemRefType>(buffer.getType())),
        /*persistent=*/false, /*offset=*/IntegerAttr());
    operand.set(symmetric);
    if (!isOut)
      memref::CopyOp::create(builder, loc, buffer, symmetric);
    builder.setInsertionPointAfter(op);
    if (isOut)
      memref::CopyOp::create(builder, loc, symmetric, buffer);
    symm::FreeOp::create(builder, loc, symmetric);
  }
};

} // namespace
