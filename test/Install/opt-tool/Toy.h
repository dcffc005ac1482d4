//===- Toy.h - a dialect and a pass of another project ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOY_H
#define TOY_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/Dialect.h"
#include "mlir/Pass/Pass.h"

namespace toy {

/// A dialect without ops of its own: it allows unknown ones.
class ToyDialect : public mlir::Dialect {
public:
  explicit ToyDialect(mlir::MLIRContext *context)
      : Dialect(getDialectNamespace(), context,
                mlir::TypeID::get<ToyDialect>()) {
    allowUnknownOperations();
  }
  static llvm::StringRef getDialectNamespace() { return "toy"; }
};

/// Says how many experts each moe.dispatch has.
class CountExpertsPass
    : public mlir::PassWrapper<CountExpertsPass, mlir::OperationPass<>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CountExpertsPass)
  llvm::StringRef getArgument() const override { return "toy-count-experts"; }
  void runOnOperation() override {
    getOperation()->walk([](mlir::moe::DispatchOp op) {
      op.emitRemark() << "experts: " << op.getNumExperts();
    });
  }
};

} // namespace toy

#endif // TOY_H
