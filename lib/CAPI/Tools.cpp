//===- Tools.cpp - C interface to the tools -------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Tools.h"

#include "moe-mlir/Target/Driver/CompileMain.h"
#include "moe-mlir/Tools/Tools.h"

using namespace mlir;

int moeCompileMain(int argc, char **argv) {
  return moe::compileMain(argc, argv);
}

int moeOptMain(int argc, char **argv) { return moe::optMain(argc, argv); }

int moeReduceMain(int argc, char **argv) { return moe::reduceMain(argc, argv); }

int moeLspServerMain(int argc, char **argv) {
  return moe::lspServerMain(argc, argv);
}
