//===- Tools.h - Main functions of the tools --------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TOOLS_TOOLS_H
#define MOE_MLIR_TOOLS_TOOLS_H

namespace mlir::moe {

/// What `moe-opt`, `moe-reduce` and `moe-lsp-server` do with their command
/// lines; return the exit status.
int optMain(int argc, char **argv);
int reduceMain(int argc, char **argv);
int lspServerMain(int argc, char **argv);

} // namespace mlir::moe

#endif // MOE_MLIR_TOOLS_TOOLS_H
