//===- ReduceMain.cpp - Main function of moe-reduce -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Tools/Tools.h"

#include "moe-mlir/InitAllDialects.h"
#include "moe-mlir/InitAllPasses.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"

using namespace mlir;

int moe::reduceMain(int argc, char **argv) {
  mlir::registerAllPasses();
  registerMoEPasses();

  DialectRegistry registry;
  moe::registerAllDialects(registry);
  registerAllExtensions(registry);

  MLIRContext context(registry);
  return failed(mlirReduceMain(argc, argv, context));
}
