//===- DropFastMath.cpp - no licence to differ between targets ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEDROPFASTMATHPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

struct MoEDropFastMathPass
    : public moe::impl::MoEDropFastMathPassBase<MoEDropFastMathPass> {
  void runOnOperation() override {
    auto none = arith::FastMathFlagsAttr::get(&getContext(),
                                              arith::FastMathFlags::none);
    getOperation()->walk([&](arith::ArithFastMathInterface op) {
      if (op.getFastMathFlagsAttr())
        op->setAttr(op.getFastMathAttrName(), none);
    });
  }
};

} // namespace
