//===- DropFlags.cpp - no licence to differ between targets --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEDROPFLAGSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

struct MoEDropFlagsPass
    : public moe::impl::MoEDropFlagsPassBase<MoEDropFlagsPass> {
  void runOnOperation() override {
    auto exact = arith::FastMathFlagsAttr::get(&getContext(),
                                               arith::FastMathFlags::none);
    auto wrapping = arith::IntegerOverflowFlagsAttr::get(
        &getContext(), arith::IntegerOverflowFlags::none);
    getOperation()->walk([&](Operation *op) {
      if (auto math = dyn_cast<arith::ArithFastMathInterface>(op))
        if (math.getFastMathFlagsAttr())
          op->setAttr(math.getFastMathAttrName(), exact);
      if (auto integer =
              dyn_cast<arith::ArithIntegerOverflowFlagsInterface>(op))
        op->setAttr(integer.getIntegerOverflowAttrName(), wrapping);
      llvm::TypeSwitch<Operation *>(op)
          .Case<arith::DivSIOp, arith::DivUIOp, arith::ShRSIOp, arith::ShRUIOp>(
              [](auto division) { division.setIsExact(false); })
          .Case([](arith::TruncFOp truncation) {
            // The only mode that moe-check-entries lets pass.
            truncation.removeRoundingmodeAttr();
          });
    });
  }
};

} // namespace
