//===- SymmToNVVM.h - symm dialect to NVVM dialect --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_SYMMTONVVM_SYMMTONVVM_H
#define MOE_MLIR_CONVERSION_SYMMTONVVM_SYMMTONVVM_H

#include "llvm/ADT/StringRef.h"

namespace mlir::moe {

/// Module attribute: the strings that error records of kernels refer to by
/// their index.
inline constexpr llvm::StringLiteral kDeviceStringsAttrName =
    "symm.device_strings";

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_SYMMTONVVM_SYMMTONVVM_H
