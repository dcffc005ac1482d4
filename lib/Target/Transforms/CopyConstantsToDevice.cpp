//===- CopyConstantsToDevice.cpp - Constants in device memory -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECOPYCONSTANTSTODEVICEPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

struct MoECopyConstantsToDevicePass
    : public moe::impl::MoECopyConstantsToDevicePassBase<
          MoECopyConstantsToDevicePass> {
  void runOnOperation() override {
    SmallVector<memref::GetGlobalOp> globals;
    getOperation().walk([&](memref::GetGlobalOp op) { globals.push_back(op); });
    for (memref::GetGlobalOp op : globals) {
      OpBuilder builder(op->getContext());
      builder.setInsertionPointAfter(op);
      auto type = cast<MemRefType>(op.getType());
      auto copy = memref::AllocOp::create(builder, op.getLoc(), type);
      op.getResult().replaceAllUsesWith(copy);
      memref::CopyOp::create(builder, op.getLoc(), op, copy);
      // Nothing uses a constant past the block it stands in.
      builder.setInsertionPoint(op->getBlock()->getTerminator());
      memref::DeallocOp::create(builder, op.getLoc(), copy);
    }
  }
};

} // namespace
