//===- CopyConstantsToDevice.cpp - Constants in device memory -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Dominance.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECOPYCONSTANTSTODEVICEPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Ops before which a copy of `global` is to be freed: the end of its block, or
/// where other blocks use it the ends of the function that it is there at. What
/// is not freed the runtime frees at the end of the call.
static SmallVector<Operation *> findEnds(memref::GetGlobalOp global,
                                         const BufferViewFlowAnalysis &aliases,
                                         DominanceInfo &dominance) {
  Block *block = global->getBlock();
  bool isLocal = llvm::all_of(aliases.resolve(global), [&](Value alias) {
    return llvm::all_of(alias.getUsers(), [&](Operation *user) {
      return block->findAncestorOpInBlock(*user) != nullptr;
    });
  });
  if (isLocal)
    return {block->getTerminator()};
  SmallVector<Operation *> ends;
  global->getParentOfType<func::FuncOp>().walk([&](func::ReturnOp end) {
    if (dominance.properlyDominates(global.getOperation(), end))
      ends.push_back(end);
  });
  return ends;
}

namespace {

struct MoECopyConstantsToDevicePass
    : public moe::impl::MoECopyConstantsToDevicePassBase<
          MoECopyConstantsToDevicePass> {
  void runOnOperation() override {
    BufferViewFlowAnalysis aliases(getOperation());
    DominanceInfo dominance(getOperation());
    SmallVector<std::pair<memref::GetGlobalOp, SmallVector<Operation *>>>
        globals;
    getOperation().walk([&](memref::GetGlobalOp op) {
      globals.emplace_back(op, findEnds(op, aliases, dominance));
    });
    for (auto &[op, ends] : globals) {
      OpBuilder builder(op->getContext());
      builder.setInsertionPointAfter(op);
      auto type = cast<MemRefType>(op.getType());
      auto copy = memref::AllocOp::create(builder, op.getLoc(), type);
      op.getResult().replaceAllUsesWith(copy);
      memref::CopyOp::create(builder, op.getLoc(), op, copy);
      for (Operation *end : ends) {
        builder.setInsertionPoint(end);
        memref::DeallocOp::create(builder, op.getLoc(), copy);
      }
    }
  }
};

} // namespace
