//===- moe-opt.cpp - mlir-opt with the dialects of this project -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Tools/Tools.h"

int main(int argc, char **argv) { return mlir::moe::optMain(argc, argv); }
