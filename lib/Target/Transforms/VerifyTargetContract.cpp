//===- VerifyTargetContract.cpp - Check that a module is lowered ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEVERIFYTARGETCONTRACTPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

struct MoEVerifyTargetContractPass
    : public moe::impl::MoEVerifyTargetContractPassBase<
          MoEVerifyTargetContractPass> {
  void runOnOperation() override {
    bool lowered = true;
    getOperation()->walk([&](Operation *op) {
      if (op == getOperation() || isa<shard::GridOp>(op) ||
          isa_and_present<LLVM::LLVMDialect>(op->getDialect()))
        return;
      op->emitOpError("has no lowering to the LLVM dialect");
      lowered = false;
    });
    if (!lowered)
      signalPassFailure();
    else
      markAllAnalysesPreserved();
  }
};

} // namespace
