//===- CheckRoutes.cpp - compare ops with the dispatch of their rows ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// This is a pass and not part of the verifiers, which look at one op.
///
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECHECKROUTESPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The dispatch whose result `sendRow` is; null when it is something else. A
/// buffer may have been written by anybody.
static DispatchOp findDispatch(Value sendRow) {
  auto op = sendRow.getDefiningOp<DispatchOp>();
  bool isResult = op && op.getOutput(DispatchOp::Output::SendRow) == sendRow;
  return isResult ? op : nullptr;
}

/// `op` takes `sendRow`, and its attributes are to be those of the dispatch.
template <typename OpT>
static LogicalResult checkRoutes(OpT op, Value sendRow) {
  DispatchOp dispatch = findDispatch(sendRow);
  if (!dispatch)
    return success();
  auto check = [&](StringRef name, const auto &got,
                   const auto &want) -> LogicalResult {
    if (got == want)
      return success();
    InFlightDiagnostic diag = op.emitOpError("expects ")
                              << name << " (" << got
                              << ") to be that of the dispatch of 'send_row' ("
                              << want << ")";
    diag.attachNote(dispatch.getLoc()) << "the dispatch is here";
    return diag;
  };
  if (failed(check("the grid", op.getGrid(), dispatch.getGrid())) ||
      failed(check("'num_experts'", op.getNumExperts(),
                   dispatch.getNumExperts())) ||
      failed(check("'layout'", stringifyLayout(op.getLayout()),
                   stringifyLayout(dispatch.getLayout()))))
    return failure();
  // A static T takes the place of 'max_tokens'.
  return check("the bound of T", op.getTokenBound(), dispatch.getTokenBound());
}

namespace {

struct MoECheckRoutesPass
    : public moe::impl::MoECheckRoutesPassBase<MoECheckRoutesPass> {
  using MoECheckRoutesPassBase::MoECheckRoutesPassBase;

  void runOnOperation() override {
    bool hasFailed = false;
    getOperation()->walk([&](Operation *op) {
      if (auto combine = dyn_cast<CombineOp>(op))
        hasFailed |= failed(checkRoutes(combine, combine.getSendRow()));
      else if (auto dispatch = dyn_cast<DispatchOp>(op);
               dispatch && dispatch.isReuse())
        hasFailed |= failed(checkRoutes(dispatch, dispatch.getReuse().front()));
    });
    markAllAnalysesPreserved();
    if (hasFailed)
      signalPassFailure();
  }
};

} // namespace
