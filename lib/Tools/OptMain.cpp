//===- OptMain.cpp - Main function of moe-opt -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Tools/Tools.h"

#include "moe-mlir/InitAllDialects.h"
#include "moe-mlir/InitAllPasses.h"

#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

using namespace mlir;

int moe::optMain(int argc, char **argv) {
  mlir::registerAllPasses();
  registerMoEPasses();

  DialectRegistry registry;
  moe::registerAllDialects(registry);
  registerAllExtensions(registry);

  return asMainReturnCode(
      MlirOptMain(argc, argv, "moe-mlir modular optimizer driver\n", registry));
}
