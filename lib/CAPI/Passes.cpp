//===- Passes.cpp - C interface to the passes -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Passes.h"

#include "moe-mlir/InitAllPasses.h"

#include "mlir/InitAllPasses.h"

void moeRegisterAllPasses() {
  mlir::registerAllPasses();
  mlir::moe::registerMoEPasses();
}
