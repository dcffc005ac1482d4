//===- MoEToColl.cpp - lower moe ops to messages --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/MoEToColl/MoEToColl.h"

#include "../MoEProtocols/CollectiveLowering.h"
#include "../MoEProtocols/OutlineCollectives.h"
#include "CollBuilder.h"
#include "KernelMessages.h"
#include "moe-mlir/Conversion/Passes.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOCOLLPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Far ranks have no memory that this one could address (coll_s5).
LogicalResult checkReachesNoMemory(Operation *op) {
  if (!isa<symm::AllocOp, symm::FreeOp, symm::PeerOp, symm::PutOp,
           symm::NextEpochOp, symm::SignalOp, symm::WaitOp, symm::BarrierOp>(
          op))
    return success();
  return op->emitOpError("expects ranks that share memory; ranks that exchange "
                         "messages (transport messages) have 'coll' ops only");
}

struct ConvertMoEToCollPass
    : public moe::impl::ConvertMoEToCollPassBase<ConvertMoEToCollPass> {
  using ConvertMoEToCollPassBase::ConvertMoEToCollPassBase;

  void runOnOperation() override {
    if (target != "host" && target != "cuda") {
      getOperation().emitError(
          "convert-moe-to-coll expects 'target' to be host or cuda (")
          << target << ")";
      return signalPassFailure();
    }
    if (failed(checkSchedule()))
      return signalPassFailure();
    bool kernels = target == "cuda";
    SiteNumbers sites;
    WalkResult result = getOperation()->walk([&](Operation *op) {
      if (failed(checkReachesNoMemory(op)))
        return WalkResult::interrupt();
      auto collective = dyn_cast<CollectiveOpInterface>(op);
      if (!collective)
        return WalkResult::advance();
      sites.try_emplace(op, sites.size());
      if (!collective.isTensorForm())
        return kernels && failed(checkHasKernel(collective,
                                                /*sharesMemory=*/false))
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      op->emitOpError("expects its memref form; run one-shot-bufferize before "
                      "convert-moe-to-coll");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    if (outline)
      outlineCollectives(getOperation(), sites,
                         {/*site=*/kernels, /*handshake=*/false});

    ConversionTarget target(getContext());
    addProtocolDialects(target);
    RewritePatternSet patterns(&getContext());
    populateMoEToCollConversionPatterns(patterns, sites, kernels,
                                        {schedule == "padded", pairCapacity});
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }

private:
  LogicalResult checkSchedule() {
    if (schedule != "exact" && schedule != "padded")
      return getOperation().emitError("convert-moe-to-coll expects 'schedule' "
                                      "to be exact or padded (")
             << schedule << ")";
    if (pairCapacity < 0 || (pairCapacity != 0 && schedule == "exact"))
      return getOperation().emitError(
                 "convert-moe-to-coll expects 'pair-capacity' to be positive, "
                 "with schedule padded (")
             << pairCapacity.getValue() << ", schedule " << schedule << ")";
    return success();
  }
};

} // namespace

/// Adds the lowering of an op: to the work of one thread, or to kernels.
template <typename OpTy>
static void addLowering(RewritePatternSet &patterns, const SiteNumbers &sites,
                        bool kernels, MessageSchedule schedule,
                        void (*lower)(OpTy, CollBuilder &),
                        void (*lowerToKernels)(OpTy, KernelMessages &)) {
  patterns.add<CollectiveLowering<OpTy>>(
      patterns.getContext(), sites,
      [=](OpTy op, OpBuilder &rewriter, int64_t site) {
        if (kernels) {
          KernelMessages builder(op, rewriter, site, getLaunchShape(op),
                                 schedule);
          lowerToKernels(op, builder);
          return builder.end();
        }
        CollBuilder builder(op, rewriter, site, schedule);
        lower(op, builder);
        builder.end();
      });
}

void moe::populateMoEToCollConversionPatterns(RewritePatternSet &patterns,
                                              const SiteNumbers &sites,
                                              bool kernels,
                                              MessageSchedule schedule) {
  addLowering<DispatchOp>(patterns, sites, kernels, schedule,
                          lowerDispatchToColl, lowerDispatchToMessageKernels);
  addLowering<CombineOp>(patterns, sites, kernels, schedule, lowerCombineToColl,
                         lowerCombineToMessageKernels);
  addLowering<AllToAllvOp>(patterns, sites, kernels, schedule,
                           lowerAllToAllvToColl,
                           lowerAllToAllvToMessageKernels);
}
