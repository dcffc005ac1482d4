//===- moe-reduce.cpp - Reduces modules that show a failure ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Tools/Tools.h"

int main(int argc, char **argv) { return mlir::moe::reduceMain(argc, argv); }
