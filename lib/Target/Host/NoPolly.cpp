//===- NoPolly.cpp - Stand-in for an extension of LLVM --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The LTO library of an LLVM that was configured with Polly names Polly's entry
// point, and the linker brings in the LTO library. Objects of this project are
// not bitcode, so LTO never runs; an extension that does nothing satisfies the
// reference without Polly's archives.
//
//===----------------------------------------------------------------------===//

#include "llvm/Plugins/PassPlugin.h"

llvm::PassPluginLibraryInfo getPollyPluginInfo();

llvm::PassPluginLibraryInfo getPollyPluginInfo() {
  return {LLVM_PLUGIN_API_VERSION, "no-polly", LLVM_VERSION_STRING,
          [](llvm::PassBuilder &) {}, nullptr};
}
