//===- CheckHostMemory.cpp - where memory of the host is used -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECHECKHOSTMEMORYPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether `use` is the `peer_rows` of an op.
static bool isPeerRows(OpOperand &use) {
  Value value = use.get();
  auto isOf = [&](auto op) { return op && op.getPeerRows() == value; };
  return isOf(dyn_cast<DispatchOp>(use.getOwner())) ||
         isOf(dyn_cast<CombineOp>(use.getOwner()));
}

static bool isResultInHostMemory(OpOperand &use) {
  auto end = dyn_cast<func::ReturnOp>(use.getOwner());
  auto func = end ? end->getParentOfType<func::FuncOp>() : func::FuncOp();
  return func && func.isPublic() &&
         func.getResultAttr(use.getOperandNumber(), kHostAttrName);
}

/// host_c2: what is in memory of the host, `value`, is used there.
static LogicalResult checkUses(Value value, Location loc) {
  unsigned returns = 0;
  for (OpOperand &use : value.getUses()) {
    bool isResult = isResultInHostMemory(use);
    returns += isResult;
    if (!isResult && !isPeerRows(use)) {
      InFlightDiagnostic diag =
          use.getOwner()->emitOpError("expects no 'peer_rows' as operand #")
          << use.getOperandNumber()
          << "; they lie in memory of the host, and are operands of 'blocks', "
             "or results of an entry that are marked '"
          << kHostAttrName << "'";
      diag.attachNote(loc) << "the 'peer_rows' come from here";
      return diag;
    }
  }
  if (returns > 1)
    return emitError(loc, "expects 'peer_rows' to be returned once (")
           << returns << ")";
  return success();
}

/// host_c3: an operand `peer_rows` is in memory of the host.
static LogicalResult checkOrigin(Operation *op, Value rows) {
  if (!rows || rows.getDefiningOp<DispatchOp>())
    return success();
  auto argument = dyn_cast<BlockArgument>(rows);
  auto func = argument
                  ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp())
                  : func::FuncOp();
  if (func && argument.getOwner()->isEntryBlock() &&
      func.getArgAttr(argument.getArgNumber(), kHostAttrName))
    return success();
  return op->emitOpError("expects 'peer_rows' to be that of a dispatch, or an "
                         "argument of the entry that is marked '")
         << kHostAttrName << "'";
}

static LogicalResult checkFunction(func::FuncOp func) {
  for (BlockArgument argument : func.getArguments())
    if (func.getArgAttr(argument.getArgNumber(), kHostAttrName) &&
        failed(checkUses(argument, func.getLoc())))
      return failure();
  WalkResult walked = func.walk([&](Operation *op) {
    LogicalResult result = success();
    if (auto dispatch = dyn_cast<DispatchOp>(op)) {
      result = checkOrigin(op, dispatch.getPeerRows());
      if (Value rows = dispatch.getOutput(DispatchOp::Output::PeerRows))
        if (succeeded(result))
          result = checkUses(rows, op->getLoc());
    } else if (auto combine = dyn_cast<CombineOp>(op)) {
      result = checkOrigin(op, combine.getPeerRows());
    } else if (auto end = dyn_cast<func::ReturnOp>(op)) {
      for (OpOperand &operand : end->getOpOperands())
        if (isResultInHostMemory(operand) &&
            !operand.get().getDefiningOp<DispatchOp>())
          result = end.emitOpError("expects result ")
                   << operand.getOperandNumber() << ", marked '"
                   << kHostAttrName << "', to be 'peer_rows' of a dispatch";
    }
    return failed(result) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(walked.wasInterrupted());
}

namespace {

struct MoECheckHostMemoryPass
    : public moe::impl::MoECheckHostMemoryPassBase<MoECheckHostMemoryPass> {
  using MoECheckHostMemoryPassBase::MoECheckHostMemoryPassBase;

  void runOnOperation() override {
    bool hasFailed = false;
    getOperation()->walk(
        [&](func::FuncOp func) { hasFailed |= failed(checkFunction(func)); });
    markAllAnalysesPreserved();
    if (hasFailed)
      signalPassFailure();
  }
};

} // namespace
