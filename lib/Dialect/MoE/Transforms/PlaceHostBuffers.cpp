//===- PlaceHostBuffers.cpp - memory of the host for row counts -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEPLACEHOSTBUFFERSPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static void removeMarks(func::FuncOp func) {
  for (unsigned i = 0, e = func.getNumArguments(); i < e; ++i)
    func.removeArgAttr(i, kHostAttrName);
  for (unsigned i = 0, e = func.getNumResults(); i < e; ++i)
    func.removeResultAttr(i, kHostAttrName);
}

/// Memory of the stack, which all of the function may use: of a dispatch in a
/// loop it is the same each time.
static LogicalResult placeOnStack(DispatchOp op, memref::AllocOp alloc) {
  SmallVector<Operation *> deallocs;
  for (Operation *user : alloc->getUsers()) {
    if (isa<memref::DeallocOp>(user))
      deallocs.push_back(user);
    else if (user->hasTrait<OpTrait::IsTerminator>())
      return op.emitOpError("expects an entry with one 'func.return', which no "
                            "other function calls, to return 'peer_rows'");
  }
  for (Operation *dealloc : deallocs)
    dealloc->erase();
  auto func = alloc->getParentOfType<FunctionOpInterface>();
  OpBuilder builder(alloc->getContext());
  builder.setInsertionPointToStart(&func.getFunctionBody().front());
  Value slot =
      memref::AllocaOp::create(builder, alloc.getLoc(), alloc.getType());
  alloc.replaceAllUsesWith(slot);
  alloc.erase();
  return success();
}

namespace {

struct MoEPlaceHostBuffersPass
    : public moe::impl::MoEPlaceHostBuffersPassBase<MoEPlaceHostBuffersPass> {
  using MoEPlaceHostBuffersPassBase::MoEPlaceHostBuffersPassBase;

  void runOnOperation() override {
    SmallVector<DispatchOp> ops;
    getOperation()->walk([&](DispatchOp op) { ops.push_back(op); });
    for (DispatchOp op : ops) {
      Value rows = op.getOutput(DispatchOp::Output::PeerRows);
      auto alloc = rows ? rows.getDefiningOp<memref::AllocOp>() : nullptr;
      if (alloc && failed(placeOnStack(op, alloc)))
        return signalPassFailure();
    }
    getOperation()->walk([](func::FuncOp func) { removeMarks(func); });
  }
};

} // namespace
