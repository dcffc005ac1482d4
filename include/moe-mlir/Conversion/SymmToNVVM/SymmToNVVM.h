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

#include <cstdint>

namespace mlir::moe {

/// Module attribute: the strings that error records of kernels refer to by
/// their index.
inline constexpr llvm::StringLiteral kDeviceStringsAttrName =
    "symm.device_strings";

/// Vectors of 16 bytes that a thread of a block of `threads` threads has in
/// flight at most, while it copies a row. Eight take 32 registers and are
/// enough to hide the latency of loads. With more than 512 threads each has
/// only 64 registers, and there are more threads that have loads in flight.
inline int64_t getMaxHeldVectors(int64_t threads) {
  return threads > 512 ? 7 : 8;
}

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_SYMMTONVVM_SYMMTONVVM_H
