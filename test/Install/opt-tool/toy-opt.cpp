//===- toy-opt.cpp - an opt tool of another project -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Shard/IR/ShardDialect.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry
      .insert<toy::ToyDialect, mlir::moe::MoEDialect, mlir::symm::SymmDialect,
              mlir::func::FuncDialect, mlir::shard::ShardDialect>();
  mlir::PassRegistration<toy::CountExpertsPass>();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "The toy optimizer\n", registry));
}
