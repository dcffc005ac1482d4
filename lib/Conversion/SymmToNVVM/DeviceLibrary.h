//===- DeviceLibrary.h - Functions that kernels call ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_SYMMTONVVM_DEVICELIBRARY_H
#define MOE_LIB_CONVERSION_SYMMTONVVM_DEVICELIBRARY_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::moe {

/// Records an error unless there is one already:
/// (status, code, site, phase, what, peer, expected, seen).
inline constexpr llvm::StringLiteral kRecordName = "symm_record";

/// Waits until a flag is at least a value, an error is recorded or the time is
/// up, which it records; returns the value seen last:
/// (flag, value, timeout, status, site, phase, what, peer) -> i64.
inline constexpr llvm::StringLiteral kWaitName = "symm_wait";

/// All threads of all blocks meet; returns whether they have:
/// (counter, timeout, status, site, phase, what) -> i1.
inline constexpr llvm::StringLiteral kGridBarrierName = "symm_grid_barrier";

/// Waits until the high half of a word is the low half of an epoch, an error is
/// recorded or the time is up, which it records; returns the word seen last:
/// (word, epoch, timeout, status, site, phase, what) -> i64.
inline constexpr llvm::StringLiteral kCollectName = "symm_collect";

/// Waits until the phase of an arrival counter has ended:
/// (counter, parity, timeout, status, site, phase, what).
inline constexpr llvm::StringLiteral kStageWaitName = "symm_stage_wait";

/// Adds those functions to `module` that it calls, directly or not.
LogicalResult addDeviceLibrary(gpu::GPUModuleOp module);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_SYMMTONVVM_DEVICELIBRARY_H
