//===- AssertLowering.h - Assertions in kernels -----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_SYMMTONVVM_ASSERTLOWERING_H
#define MOE_LIB_CONVERSION_SYMMTONVVM_ASSERTLOWERING_H

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {

bool hasAssertions(Operation *op);

/// Numbers the assertions of kernels as sites, after the module's collectives,
/// so that error records can name them.
class AssertionSites {
public:
  explicit AssertionSites(ModuleOp module);
  int64_t add(cf::AssertOp op);
  ArrayRef<Attribute> get() const { return sites; }

private:
  int64_t first = 0;
  SmallVector<Attribute> sites;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_SYMMTONVVM_ASSERTLOWERING_H
