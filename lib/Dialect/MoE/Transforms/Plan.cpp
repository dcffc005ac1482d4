//===- Plan.cpp - choose how moe ops are carried out ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/Remarks.h"

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
    if (combineAlgorithm != "auto" && !symbolizeAlgorithm(combineAlgorithm)) {
      getOperation()->emitError("moe-plan expects 'combine-algorithm' to be "
                                "auto, pull or push (")
          << combineAlgorithm << ")";
      return signalPassFailure();
    }
    getOperation()->walk([&](CombineOp op) {
      if (!op.getAlgorithm())
        plan(op);
      ++(op.getAlgorithm() == Algorithm::pull ? numPull : numPush);
    });
  }

  void plan(CombineOp op) {
    auto opts = remark::RemarkOpts::name("combine-algorithm")
                    .category("moe-plan")
                    .function(getFunctionName(op));
    if (combineAlgorithm == "push" && op.isExpertMajor()) {
      op.setAlgorithm(Algorithm::pull);
      remark::missed(op.getLoc(), opts)
          << "combine pulls: rows of an expert_major layout do not name the "
             "slot of their token";
      return;
    }
    Algorithm algorithm =
        symbolizeAlgorithm(combineAlgorithm).value_or(Algorithm::pull);
    op.setAlgorithm(algorithm);
    StringRef reason = combineAlgorithm == "auto"
                           ? "rows are read once, where they lie, and need no "
                             "slots"
                           : "asked for by 'combine-algorithm'";
    remark::passed(op.getLoc(), opts)
        << ("combine uses " + stringifyAlgorithm(algorithm) + ": " + reason)
               .str();
  }

  static StringRef getFunctionName(Operation *op) {
    auto symbol = op->getParentOfType<SymbolOpInterface>();
    return symbol ? symbol.getName() : StringRef();
  }
};

} // namespace
