//===- GPU.h - PTX of kernels -----------------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_GPU_GPU_H
#define MOE_MLIR_TARGET_GPU_GPU_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/Pass.h"
#include <optional>
#include <string>

namespace mlir::moe {

/// The symbol of an artifact that holds its kernels.
inline constexpr llvm::StringLiteral kGpuImageName = "moe_gpu_image";

/// Module attribute: {chip = "sm_90", format = "ptx"} of the kernels, for the
/// manifest.
inline constexpr llvm::StringLiteral kGpuAttrName = "moe.gpu";

struct GpuTargetOptions {
  /// One of `getGpuChips`.
  std::string chip = "sm_90";
  /// Version of PTX times ten.
  unsigned ptxVersion = 80;
  /// 0 to 3.
  unsigned optLevel = 3;
};

/// The chips that code can be compiled for, oldest first.
SmallVector<StringRef> getGpuChips();

/// Why code cannot be generated for `chip` with this version of PTX; nothing
/// when it can. The code generator ends the process when asked to.
std::optional<std::string> checkGpuTarget(StringRef chip, unsigned ptxVersion);

/// Compiles a module of LLVM dialect functions to PTX. Reports errors on
/// `module`.
FailureOr<std::string> emitPTX(gpu::GPUModuleOp module,
                               const GpuTargetOptions &options);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_GPU_GPU_H
