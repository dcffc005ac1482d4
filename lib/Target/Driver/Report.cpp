//===- Report.cpp - Memory and traffic of a module ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Report.h"

#include "ReportParts.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

int64_t moe::getRowBytes(Value value) {
  auto type = cast<ShapedType>(value.getType());
  return ShapedType::getNumElements(type.getShape().drop_front()) *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

void CompileReport::forEachCollective(
    ModuleOp module,
    llvm::function_ref<void(CollectiveReport &, Operation *)> body) {
  module.walk([&](symm::CollectiveBeginOp begin) {
    if (begin.getSite() >= collectives.size())
      return;
    CollectiveReport &report = collectives[begin.getSite()];
    for (Operation *op = begin->getNextNode();
         op && !isa<symm::CollectiveEndOp>(op); op = op->getNextNode())
      op->walk([&](Operation *nested) { body(report, nested); });
  });
}
