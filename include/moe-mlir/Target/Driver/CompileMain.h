//===- CompileMain.h - Main function of moe-compile -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_DRIVER_COMPILEMAIN_H
#define MOE_MLIR_TARGET_DRIVER_COMPILEMAIN_H

namespace mlir::moe {

/// What `moe-compile` does with its command line; returns the exit status.
int compileMain(int argc, char **argv);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_DRIVER_COMPILEMAIN_H
