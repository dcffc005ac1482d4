//===- LibraryFunctions.h - Functions an artifact imports -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_LLVM_LIBRARYFUNCTIONS_H
#define MOE_MLIR_TARGET_LLVM_LIBRARYFUNCTIONS_H

#include "mlir/Support/LLVM.h"

namespace mlir::moe {

/// Where a function that an artifact imports is defined.
enum class FunctionProvider { Runtime, LibC, LibM, Nobody };

/// The provider of the function `name`: all that an artifact may import.
FunctionProvider findFunctionProvider(StringRef name);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_LLVM_LIBRARYFUNCTIONS_H
