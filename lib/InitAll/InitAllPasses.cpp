//===- InitAllPasses.cpp - Registration of all passes ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/InitAllPasses.h"

#include "moe-mlir/Conversion/Passes.h"
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"
#include "moe-mlir/Dialect/Symm/Transforms/Passes.h"
#include "moe-mlir/Pipelines/Pipelines.h"

void mlir::moe::registerMoEPasses() {
  registerMoETransformsPasses();
  symm::registerSymmTransformsPasses();
  registerMoEConversionPasses();
  registerPipelines();
}
