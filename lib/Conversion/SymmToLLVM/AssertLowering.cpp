//===- AssertLowering.cpp - Assertions of host code -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"

#include "RuntimeCalls.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Upstream's lowering prints the text and aborts, which would take the process
/// of the caller along.
struct AssertOpLowering : public OpRewritePattern<cf::AssertOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(cf::AssertOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value yes = arith::ConstantIntOp::create(rewriter, loc, 1, 1);
    Value fails = arith::XOrIOp::create(rewriter, loc, op.getArg(), yes);
    auto branch = scf::IfOp::create(rewriter, loc, fails);
    rewriter.setInsertionPointToStart(branch.thenBlock());
    FailureOr<Value> place =
        createStringConstant(rewriter, loc, describeLocation(loc));
    FailureOr<Value> text = createStringConstant(rewriter, loc, op.getMsg());
    if (failed(place) || failed(text))
      return rewriter.notifyMatchFailure(op, "clash with a string constant");
    if (failed(callRuntime(rewriter, loc, RuntimeFunction::AssertionFailed,
                           {*place, *text})))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void moe::populateAssertToRuntimePatterns(RewritePatternSet &patterns) {
  patterns.add<AssertOpLowering>(patterns.getContext());
}
