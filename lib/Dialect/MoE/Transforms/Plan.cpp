//===- Plan.cpp - choose how moe ops are carried out ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "AlgorithmPlan.h"
#include "KernelPlan.h"
#include "SchedulePlan.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEPLANPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

struct MoEPlanPass : public moe::impl::MoEPlanPassBase<MoEPlanPass> {
  using MoEPlanPassBase::MoEPlanPassBase;

  void runOnOperation() override {
    if (failed(checkOptions()))
      return signalPassFailure();
    getOperation()->walk([&](CombineOp op) {
      if (!op.getAlgorithm())
        plan(op);
      if (op.getDeferRelease())
        explainRelease(op);
      ++(op.getAlgorithm() == Algorithm::pull ? numPull : numPush);
    });
    getOperation()->walk([&](DispatchOp op) {
      if (!op.getAlgorithm())
        plan(op);
      if (op.isExpand())
        ++numExpand;
    });
    if (transport == "messages")
      getOperation()->walk([&](CollectiveOpInterface op) { planMessages(op); });
    if (target != "cuda")
      return;
    WalkResult walked = getOperation()->walk([&](CollectiveOpInterface op) {
      return failed(planKernelOf(op)) ? WalkResult::interrupt()
                                      : WalkResult::advance();
    });
    if (walked.wasInterrupted())
      signalPassFailure();
  }

private:
  KernelTarget device;
  KernelRequest request;

  InFlightDiagnostic emitOptionError(StringRef name, const Twine &expected) {
    return getOperation()->emitError("moe-plan expects '")
           << name << "' to be " << expected << " (";
  }

  /// Checks what no op on the target could take, and reads the rest.
  LogicalResult checkOptions() {
    if (combineAlgorithm != "auto" && !symbolizeAlgorithm(combineAlgorithm))
      return emitOptionError("combine-algorithm", "auto, pull or push")
             << combineAlgorithm << ")";
    if (dispatchAlgorithm != "auto" &&
        !symbolizeDispatchAlgorithm(dispatchAlgorithm))
      return emitOptionError("dispatch-algorithm", "auto, direct or expand")
             << dispatchAlgorithm << ")";
    if (transport != "direct" && transport != "messages")
      return emitOptionError("transport", "direct or messages")
             << transport << ")";
    if (schedule != "auto" && !symbolizeSchedule(schedule))
      return emitOptionError("schedule", "auto, exact or padded")
             << schedule << ")";
    if (target != "host" && target != "cuda")
      return emitOptionError("target", "host or cuda") << target << ")";
    if (target == "host")
      return success();
    std::optional<KernelTarget> known = getKernelTarget(chip);
    if (!known)
      return emitOptionError("chip", "a name like sm_90") << chip << ")";
    device = *known;
    if (transfer != "auto" && !symbolizeTransfer(transfer))
      return emitOptionError("transfer", "auto, stores or bulk")
             << transfer << ")";
    request.transfer = symbolizeTransfer(transfer);
    if (request.transfer == Transfer::bulk && !device.hasBulkCopies)
      return emitOptionError("transfer",
                             "auto or stores with chip " + chip.getValue())
             << transfer << ")";
    if (blocks < 0)
      return emitOptionError("blocks", "0 or more") << blocks.getValue() << ")";
    if (threads < 0 || threads > 1024 || threads % 32 != 0)
      return emitOptionError("threads", "a multiple of 32 up to 1024")
             << threads.getValue() << ")";
    if (stages < 0 || stages > kMaxStages)
      return emitOptionError("stages", "0 to " + std::to_string(kMaxStages))
             << stages.getValue() << ")";
    if (team < 0 || team > 32 || (team > 0 && !llvm::isPowerOf2_64(team)))
      return emitOptionError("team", "0 or a power of two up to 32")
             << team.getValue() << ")";
    request.blocks = blocks;
    request.threads = threads;
    request.stages = stages;
    request.team = team;
    return success();
  }

  void plan(CombineOp op) {
    auto opts = getRemarkOptions("combine-algorithm", op);
    StringRef obstacle = findFormObstacleToPush(op);
    if (combineAlgorithm == "push" && !obstacle.empty()) {
      op.setAlgorithm(Algorithm::pull);
      remark::missed(op.getLoc(), opts) << ("combine pulls: " + obstacle).str();
      return;
    }
    AlgorithmChoice choice = {Algorithm::pull,
                              "rows are read once, where they lie, and need no "
                              "slots"};
    if (std::optional<Algorithm> pinned = symbolizeAlgorithm(combineAlgorithm))
      choice = {*pinned, "asked for by 'combine-algorithm'"};
    else if (target == "cuda")
      choice = chooseAlgorithm(op, request);
    op.setAlgorithm(choice.algorithm);
    remark::passed(op.getLoc(), opts)
        << ("combine uses " + stringifyAlgorithm(choice.algorithm) + ": " +
            choice.reason)
               .str();
  }

  /// A dispatch that has no algorithm afterwards is direct.
  void plan(DispatchOp op) {
    std::optional<DispatchAlgorithm> pinned =
        symbolizeDispatchAlgorithm(dispatchAlgorithm);
    auto opts = getRemarkOptions("dispatch-algorithm", op);
    std::string obstacle;
    if (target != "cuda" || transport == "messages")
      obstacle = "only kernels that reach each other's memory expand rows";
    else
      obstacle = findObstacleToExpand(op, request);
    if (!obstacle.empty() && pinned != DispatchAlgorithm::direct) {
      if (pinned)
        remark::missed(op.getLoc(), opts)
            << "dispatch puts each row by itself: " + obstacle;
      return;
    }
    DispatchAlgorithmChoice choice =
        pinned ? DispatchAlgorithmChoice{*pinned,
                                         "asked for by 'dispatch-algorithm'"}
               : chooseAlgorithm(op, request);
    op.setAlgorithm(choice.algorithm);
    remark::passed(op.getLoc(), opts)
        << ("dispatch uses " + stringifyDispatchAlgorithm(choice.algorithm) +
            ": " + choice.reason)
               .str();
  }

  /// What becomes of `defer_release`, which a layout does not matter for.
  void explainRelease(CombineOp op) {
    auto opts = getRemarkOptions("release", op);
    if (op.getAlgorithm() == Algorithm::pull)
      remark::passed(op.getLoc(), opts)
          << "combine ends without telling the ranks that their rows have been "
             "read";
    else
      remark::missed(op.getLoc(), opts)
          << "combine has nothing to put off: it pushes, so that no rank reads "
             "the rows of another one, and ends when no row is on its way";
  }

  void planMessages(CollectiveOpInterface op) {
    if (op.getNumRanks() == 0)
      return;
    if (!op.getScheduleAttr()) {
      ScheduleChoice choice = {Schedule::exact, "asked for by 'schedule'"};
      if (std::optional<Schedule> pinned = symbolizeSchedule(schedule))
        choice.schedule = *pinned;
      else
        choice = chooseSchedule(op, target == "cuda");
      op.setScheduleAttr(ScheduleAttr::get(&getContext(), choice.schedule));
      remark::passed(op.getLoc(), getRemarkOptions("schedule", op))
          << llvm::formatv("{0} has {1} messages: {2}",
                           op->getName().stripDialect(),
                           stringifySchedule(choice.schedule), choice.reason)
                 .str();
    }
    bool isExact = op.getScheduleAttr().getValue() == Schedule::exact;
    ++(isExact ? numExact : numPadded);
  }

  LogicalResult planKernelOf(CollectiveOpInterface op) {
    if (KernelAttr kernel = op.getKernelAttr()) {
      if (kernel.getTransfer() == Transfer::bulk && !device.hasBulkCopies)
        return op.emitOpError("expects transfer stores with chip ")
               << chip << " (bulk)";
      count(kernel);
      return success();
    }
    auto opts = getRemarkOptions("kernel", op);
    StringRef name = op->getName().stripDialect();
    KernelChoice choice = planKernel(op, device, request);
    KernelAttr kernel = choice.kernel;
    op.setKernelAttr(kernel);
    count(kernel);
    for (const std::string &missed : choice.missed)
      remark::missed(op.getLoc(), opts) << (name + " has " + missed).str();
    bool isBulk = kernel.getTransfer() == Transfer::bulk;
    remark::passed(op.getLoc(), opts)
        << llvm::formatv("{0} moves rows by {1}: {2} ({3} {4} of {5} "
                         "threads, {6} {7})",
                         name, isBulk ? "bulk copies" : "stores", choice.reason,
                         kernel.getBlocks(),
                         kernel.getBlocks() == 1 ? "block" : "blocks",
                         kernel.getThreads(), isBulk ? "stages" : "team",
                         isBulk ? kernel.getStages() : kernel.getTeam())
               .str();
    return success();
  }

  void count(KernelAttr kernel) {
    ++(kernel.getTransfer() == Transfer::bulk ? numBulk : numStores);
  }

  static remark::RemarkOpts getRemarkOptions(StringRef name, Operation *op) {
    auto symbol = op->getParentOfType<SymbolOpInterface>();
    return remark::RemarkOpts::name(name)
        .category("moe-plan")
        .function(symbol ? symbol.getName() : StringRef());
  }
};

} // namespace
