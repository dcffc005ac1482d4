//===- MoEToSymm.cpp - lower moe ops to one-sided protocols ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/MoEToSymm/MoEToSymm.h"

#include "../MoEProtocols/CollectiveLowering.h"
#include "../MoEProtocols/OutlineCollectives.h"
#include "Lowerings.h"
#include "moe-mlir/Conversion/Passes.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOSYMMPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Buffers have to be symmetric memory wherever peers reach.
template <typename OpTy>
struct SymmetricLowering : public CollectiveLowering<OpTy> {
  using CollectiveLowering<OpTy>::CollectiveLowering;

  LogicalResult
  checkOperands(OpTy op, ConversionPatternRewriter &rewriter) const override {
    SmallVector<OpOperand *> operands;
    op.getSymmetricOperands(operands);
    for (OpOperand *operand : operands)
      if (!symm::isSymmetric(operand->get().getType()))
        return rewriter.notifyMatchFailure(op, [&](Diagnostic &diag) {
          diag << "operand #" << operand->getOperandNumber()
               << " is not in symmetric memory";
        });
    return success();
  }
};

/// Whether the caller of the entry owns the memory of `buffer`. Arguments of
/// loops and of private functions may be memory that the module reuses.
bool isEntryArgument(Value buffer) {
  while (auto cast = buffer.getDefiningOp<memref::MemorySpaceCastOp>())
    buffer = cast.getSource();
  auto argument = dyn_cast<BlockArgument>(buffer);
  if (!argument)
    return false;
  auto function =
      dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
  return function && function.isPublic() &&
         argument.getOwner() == &function.getFunctionBody().front();
}

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
  auto combine = dyn_cast<CombineOp>(op.getOperation());
  if (!combine || !combine.getDeferRelease())
    return success();
  // Other ranks may read both when the op has ended (combine_s6).
  StringRef names[] = {"y", "weights"};
  for (auto [name, buffer] :
       llvm::zip(names, ValueRange{combine.getY(), combine.getWeights()}))
    if (buffer && !isEntryArgument(buffer))
      return op.emitOpError("expects '")
             << name
             << "' to be a 'moe.symmetric' argument of the entry with "
                "'defer_release'";
  return success();
}

struct ConvertMoEToSymmPass
    : public moe::impl::ConvertMoEToSymmPassBase<ConvertMoEToSymmPass> {
  using ConvertMoEToSymmPassBase::ConvertMoEToSymmPassBase;

  void runOnOperation() override {
    if (target != "host" && target != "cuda") {
      getOperation().emitError(
          "convert-moe-to-symm expects 'target' to be host or cuda (")
          << target << ")";
      return signalPassFailure();
    }
    bool kernels = target == "cuda";
    SiteNumbers sites;
    WalkResult result = getOperation()->walk([&](CollectiveOpInterface op) {
      sites.try_emplace(op, sites.size());
      return failed(checkLowerable(op)) ||
                     (kernels && failed(checkHasKernel(op)))
                 ? WalkResult::interrupt()
                 : WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    if (outline)
      outlineCollectives(getOperation(), sites,
                         {/*site=*/kernels, /*handshake=*/kernels});

    ConversionTarget target(getContext());
    addProtocolDialects(target);
    RewritePatternSet patterns(&getContext());
    populateMoEToSymmConversionPatterns(patterns, sites, kernels);
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

/// Adds the lowering of an op: to the work of one thread, or to a kernel.
template <typename OpTy>
static void addLowering(RewritePatternSet &patterns, const SiteNumbers &sites,
                        bool kernels, void (*lower)(OpTy, ProtocolBuilder &),
                        void (*lowerToKernel)(OpTy, KernelBuilder &)) {
  patterns.add<SymmetricLowering<OpTy>>(
      patterns.getContext(), sites,
      [=](OpTy op, OpBuilder &rewriter, int64_t site) {
        if (kernels) {
          KernelBuilder builder(op, rewriter, site, getLaunchShape(op));
          lowerToKernel(op, builder);
          return builder.end();
        }
        ProtocolBuilder builder(op, rewriter, site);
        lower(op, builder);
        builder.end();
      });
}

void moe::populateMoEToSymmConversionPatterns(RewritePatternSet &patterns,
                                              const SiteNumbers &sites,
                                              bool kernels) {
  addLowering<DispatchOp>(patterns, sites, kernels, lowerDispatch,
                          lowerDispatchToKernel);
  addLowering<CombineOp>(patterns, sites, kernels, lowerCombine,
                         lowerCombineToKernel);
  addLowering<AllToAllvOp>(patterns, sites, kernels, lowerAllToAllv,
                           lowerAllToAllvToKernel);
}
