//===- InitAllDialects.h - Registration of all dialects ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_INITALLDIALECTS_H
#define MOE_MLIR_INITALLDIALECTS_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace mlir::moe {

/// Registers the dialects of this project and the models they implement.
void registerMoEDialects(DialectRegistry &registry);

/// Registers the above and what a program that links MLIR statically has to
/// bring itself: the upstream dialects, interface models and translations that
/// the pipelines of this project use.
void registerAllDialects(DialectRegistry &registry);

} // namespace mlir::moe

#endif // MOE_MLIR_INITALLDIALECTS_H
