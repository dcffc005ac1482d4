//===- LspServerMain.cpp - Main function of moe-lsp-server ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Tools/Tools.h"

#include "moe-mlir/InitAllDialects.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

using namespace mlir;

int moe::lspServerMain(int argc, char **argv) {
  DialectRegistry registry;
  moe::registerAllDialects(registry);
  registerAllExtensions(registry);
  return failed(MlirLspServerMain(argc, argv, registry));
}
