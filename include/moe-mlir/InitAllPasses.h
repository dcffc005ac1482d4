//===- InitAllPasses.h - Registration of all passes -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_INITALLPASSES_H
#define MOE_MLIR_INITALLPASSES_H

namespace mlir::moe {

/// Registers the passes and pipelines of this project.
void registerMoEPasses();

} // namespace mlir::moe

#endif // MOE_MLIR_INITALLPASSES_H
