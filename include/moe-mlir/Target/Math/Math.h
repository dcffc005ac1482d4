//===- Math.h - math functions of generated code ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_MATH_MATH_H
#define MOE_MLIR_TARGET_MATH_MATH_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"

namespace llvm {
class Module;
} // namespace llvm

namespace mlir {
class Operation;
} // namespace mlir

namespace mlir::moe {

/// The attribute of a function without a body that stands for a function of the
/// math library; its value is the name there ("sin" for that of f32). So
/// functions of the user's may have any name.
constexpr llvm::StringLiteral kMathFunctionAttrName = "moe-math";
/// The same for a function of the C library.
constexpr llvm::StringLiteral kLibMFunctionAttrName = "moe-libm";

/// Defines the functions of `code` that have the first attribute, as internal
/// ones, and gives those with the second the names they have there. What is
/// linked is the same on every target, and so are its results. To be called
/// before optimizations, with the triple and the layout of the target set. An
/// error is reported on `op`.
LogicalResult linkMathLibrary(Operation *op, llvm::Module &code);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_MATH_MATH_H
