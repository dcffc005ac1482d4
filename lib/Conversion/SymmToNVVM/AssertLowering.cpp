//===- AssertLowering.cpp - Assertions in kernels -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AssertLowering.h"

#include "DeviceLibrary.h"
#include "KernelLowering.h"
#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "moe-runtime/ArtifactABI.h"

using namespace mlir;
using namespace mlir::moe;

bool moe::hasAssertions(Operation *op) {
  return op->walk([](cf::AssertOp) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

AssertionSites::AssertionSites(ModuleOp module) {
  module.walk([&](symm::CollectiveBeginOp op) {
    first = std::max(first, static_cast<int64_t>(op.getSite()) + 1);
  });
}

int64_t AssertionSites::add(cf::AssertOp op) {
  Builder builder(op.getContext());
  sites.push_back(builder.getDictionaryAttr(
      {builder.getNamedAttr("op", builder.getStringAttr("cf.assert")),
       builder.getNamedAttr(
           "location", builder.getStringAttr(describeLocation(op.getLoc())))}));
  return first + static_cast<int64_t>(sites.size()) - 1;
}

/// What follows an assertion may rely on it, an access within bounds for one:
/// the thread ends. Kernels that hold assertions are loops whose threads do not
/// wait for each other.
void KernelLowering::lower(cf::AssertOp op) {
  Value yes = arith::ConstantIntOp::create(rewriter, loc, 1, 1);
  Value fails = arith::XOrIOp::create(rewriter, loc, op.getArg(), yes);
  auto branch = scf::IfOp::create(rewriter, loc, fails);
  rewriter.setInsertionPointToStart(branch.thenBlock());
  call(kRecordName, {},
       {status, i32(MOERT_ASSERTION_FAILED),
        i32(static_cast<int32_t>(assertions.add(op))), i32(-1),
        i32(strings.getIndex(op.getMsgAttr())), i32(-1), i64(0), i64(0), i64(0),
        i32(-1), i32(-1)});
  NVVM::Exit::create(rewriter, loc);
  rewriter.eraseOp(op);
}

/// Kernels after one in which an assertion failed may rely on it as well.
void KernelLowering::leaveAfterError() {
  loc = kernel.getLoc();
  Value code = LLVM::LoadOp::create(rewriter, loc, rewriter.getI32Type(),
                                    status, /*alignment=*/4,
                                    /*isVolatile=*/true);
  Value hasFailed = arith::CmpIOp::create(
      rewriter, loc, arith::CmpIPredicate::ne, code, i32(0));
  auto branch = scf::IfOp::create(rewriter, loc, hasFailed);
  rewriter.setInsertionPointToStart(branch.thenBlock());
  NVVM::Exit::create(rewriter, loc);
}
