//===- MoEToSymm.cpp - lower moe ops to one-sided protocols ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/MoEToSymm/MoEToSymm.h"

#include "KernelBuilder.h"
#include "moe-mlir/Conversion/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
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
template <typename OpTy, void (*lower)(OpTy, ProtocolBuilder &),
          void (*lowerToKernel)(OpTy, KernelBuilder &)>
struct CollectiveOpLowering : public OpConversionPattern<OpTy> {
  CollectiveOpLowering(MLIRContext *context, const SiteNumbers &sites,
                       std::optional<LaunchShape> launch)
      : OpConversionPattern<OpTy>(context), sites(sites), launch(launch) {}

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
    if (launch) {
      KernelBuilder builder(op, rewriter, sites.lookup(op), *launch);
      lowerToKernel(op, builder);
      builder.end();
    } else {
      ProtocolBuilder builder(op, rewriter, sites.lookup(op));
      lower(op, builder);
      builder.end();
    }
    rewriter.eraseOp(op);
    return success();
  }

  const SiteNumbers &sites;
  std::optional<LaunchShape> launch;
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

LogicalResult checkHasKernel(CollectiveOpInterface op) {
  auto combine = dyn_cast<CombineOp>(op.getOperation());
  if (combine && combine.getAlgorithm() == Algorithm::push)
    return op.emitOpError("expects algorithm pull with target cuda (push)");
  return success();
}

struct ConvertMoEToSymmPass
    : public moe::impl::ConvertMoEToSymmPassBase<ConvertMoEToSymmPass> {
  using ConvertMoEToSymmPassBase::ConvertMoEToSymmPassBase;

  void runOnOperation() override {
    std::optional<LaunchShape> launch;
    if (failed(readOptions(launch)))
      return signalPassFailure();
    SiteNumbers sites;
    WalkResult result = getOperation()->walk([&](CollectiveOpInterface op) {
      sites.try_emplace(op, sites.size());
      return failed(checkLowerable(op)) ||
                     (launch && failed(checkHasKernel(op)))
                 ? WalkResult::interrupt()
                 : WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();

    ConversionTarget target(getContext());
    target.addIllegalDialect<MoEDialect>();
    target.addLegalDialect<
        arith::ArithDialect, gpu::GPUDialect, linalg::LinalgDialect,
        math::MathDialect, memref::MemRefDialect, NVVM::NVVMDialect,
        scf::SCFDialect, symm::SymmDialect, vector::VectorDialect>();
    RewritePatternSet patterns(&getContext());
    populateMoEToSymmConversionPatterns(patterns, sites, launch);
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }

  LogicalResult readOptions(std::optional<LaunchShape> &launch) {
    if (target == "host")
      return success();
    if (target != "cuda")
      return getOperation().emitError(
                 "convert-moe-to-symm expects 'target' to be host or cuda (")
             << target << ")";
    if (threads < kSubgroupSize || threads > 1024 ||
        threads % kSubgroupSize != 0)
      return getOperation().emitError("convert-moe-to-symm expects 'threads' "
                                      "to be a multiple of 32 up to 1024 (")
             << threads.getValue() << ")";
    if (blocks < 1)
      return getOperation().emitError(
                 "convert-moe-to-symm expects 'blocks' of at least 1 (")
             << blocks.getValue() << ")";
    launch = LaunchShape{blocks, threads};
    return success();
  }
};

} // namespace

void moe::populateMoEToSymmConversionPatterns(
    RewritePatternSet &patterns, const SiteNumbers &sites,
    std::optional<LaunchShape> launch) {
  patterns.add<
      CollectiveOpLowering<DispatchOp, lowerDispatch, lowerDispatchToKernel>,
      CollectiveOpLowering<CombineOp, lowerCombine, lowerCombineToKernel>,
      CollectiveOpLowering<AllToAllvOp, lowerAllToAllv,
                           lowerAllToAllvToKernel>>(patterns.getContext(),
                                                    sites, launch);
}
