//===- MoEToSymm.cpp - lower moe ops to one-sided protocols ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/MoEToSymm/MoEToSymm.h"

#include "ProtocolBuilder.h"
#include "moe-mlir/Conversion/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOSYMMPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// What the lowerings of all collectives share: they need the memref form, a
/// resolved grid, and symmetric memory wherever peers reach.
template <typename OpTy, void (*lower)(OpTy, ProtocolBuilder &)>
struct CollectiveOpLowering : public OpConversionPattern<OpTy> {
  CollectiveOpLowering(MLIRContext *context, const SiteNumbers &sites)
      : OpConversionPattern<OpTy>(context), sites(sites) {}

  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (op.isTensorForm())
      return rewriter.notifyMatchFailure(op, "not in memref form");
    if (op.getNumRanks() == 0)
      return rewriter.notifyMatchFailure(op, "its grid is not resolved");
    SmallVector<OpOperand *> operands;
    op.getSymmetricOperands(operands);
    for (OpOperand *operand : operands)
      if (!symm::isSymmetric(operand->get().getType()))
        return rewriter.notifyMatchFailure(op, [&](Diagnostic &diag) {
          diag << "operand #" << operand->getOperandNumber()
               << " is not in symmetric memory";
        });
    ProtocolBuilder builder(op, rewriter, sites.lookup(op));
    lower(op, builder);
    builder.end();
    rewriter.eraseOp(op);
    return success();
  }

  const SiteNumbers &sites;
};

/// What makes a moe op impossible to lower, said before anything is changed.
LogicalResult checkLowerable(CollectiveOpInterface op) {
  if (op.isTensorForm())
    return op.emitOpError("expects its memref form; run one-shot-bufferize "
                          "before convert-moe-to-symm");
  SmallVector<OpOperand *> operands;
  op.getSymmetricOperands(operands);
  for (OpOperand *operand : operands)
    if (!symm::isSymmetric(operand->get().getType()))
      return op.emitOpError("expects operand #")
             << operand->getOperandNumber() << " (" << operand->get().getType()
             << ") in symmetric memory; run moe-place-symmetric-buffers before "
                "convert-moe-to-symm";
  return success();
}

struct ConvertMoEToSymmPass
    : public moe::impl::ConvertMoEToSymmPassBase<ConvertMoEToSymmPass> {
  using ConvertMoEToSymmPassBase::ConvertMoEToSymmPassBase;

  void runOnOperation() override {
    SiteNumbers sites;
    WalkResult result = getOperation()->walk([&](CollectiveOpInterface op) {
      sites.try_emplace(op, sites.size());
      return failed(checkLowerable(op)) ? WalkResult::interrupt()
                                        : WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();

    ConversionTarget target(getContext());
    target.addIllegalDialect<MoEDialect>();
    target.addLegalDialect<arith::ArithDialect, linalg::LinalgDialect,
                           memref::MemRefDialect, scf::SCFDialect,
                           symm::SymmDialect>();
    RewritePatternSet patterns(&getContext());
    populateMoEToSymmConversionPatterns(patterns, sites);
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void moe::populateMoEToSymmConversionPatterns(RewritePatternSet &patterns,
                                              const SiteNumbers &sites) {
  patterns.add<CollectiveOpLowering<DispatchOp, lowerDispatch>,
               CollectiveOpLowering<CombineOp, lowerCombine>,
               CollectiveOpLowering<AllToAllvOp, lowerAllToAllv>>(
      patterns.getContext(), sites);
}
