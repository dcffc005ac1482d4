//===- CheckOrder.cpp - collectives run one after the other ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECHECKORDERPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The op around `op` whose regions may run at the same time or any number of
/// times; null without any.
static Operation *findUnorderedParent(Operation *op) {
  Operation *parent = op->getParentOp();
  while (isa<scf::ForOp, scf::WhileOp, scf::IfOp, scf::IndexSwitchOp,
             scf::ExecuteRegionOp, affine::AffineForOp, affine::AffineIfOp>(
      parent))
    parent = parent->getParentOp();
  return isa<FunctionOpInterface>(parent) ? nullptr : parent;
}

namespace {

struct MoECheckOrderPass
    : public moe::impl::MoECheckOrderPassBase<MoECheckOrderPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    WalkResult checked = getOperation()->walk([&](Operation *op) {
      Operation *collective = isa<CollectiveOpInterface>(op) ? op : nullptr;
      if (auto call = dyn_cast<func::CallOp>(op))
        collective = findCollective(call);
      Operation *parent = collective ? findUnorderedParent(op) : nullptr;
      if (!parent)
        return WalkResult::advance();
      InFlightDiagnostic diag = op->emitOpError(
          "expects to be in a function, or in loops and branches that run in "
          "order");
      diag.attachNote(parent->getLoc())
          << "is within '" << parent->getName() << "'";
      if (collective != op)
        diag.attachNote(collective->getLoc())
            << "calls '" << collective->getName() << "'";
      return WalkResult::interrupt();
    });
    if (checked.wasInterrupted())
      signalPassFailure();
  }

private:
  /// A collective that the callee runs, directly or through others.
  Operation *findCollective(func::CallOp call) {
    auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(
        call, call.getCalleeAttr());
    auto [known, isNew] = collectives.try_emplace(callee, nullptr);
    if (!isNew || !callee)
      return known->second;
    Operation *found = nullptr;
    callee.walk([&](Operation *op) {
      if (isa<CollectiveOpInterface>(op))
        found = op;
      else if (auto inner = dyn_cast<func::CallOp>(op))
        found = findCollective(inner);
      return found ? WalkResult::interrupt() : WalkResult::advance();
    });
    return collectives[callee] = found;
  }

  /// Of each function that is called.
  DenseMap<Operation *, Operation *> collectives;
};

} // namespace
