//===- GPU.h - Images of kernels --------------------------------*- C++ -*-===//
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

/// Module attribute: {bytes = 9000, chip = "sm_90", format = "ptx"} of the
/// kernels, for the manifest.
inline constexpr llvm::StringLiteral kGpuAttrName = "moe.gpu";

struct GpuTargetOptions {
  /// One of `getGpuChips`.
  std::string chip = "sm_90";
  /// Version of PTX times ten.
  unsigned ptxVersion = 80;
  /// 0 to 3.
  unsigned optLevel = 3;
  /// Of the image: "ptx", or "cubin", which needs the assembler.
  std::string format = "ptx";
  /// Path of the assembler; empty to look for it.
  std::string ptxas;
};

/// The chips that code can be compiled for, oldest first.
SmallVector<StringRef> getGpuChips();

/// The version of PTX when none is asked for: the default, or the first that
/// knows the chip.
unsigned getDefaultPtxVersion(StringRef chip);
/// Why code cannot be generated for `chip` with this version of PTX; nothing
/// when it can. The code generator ends the process when asked to.
std::optional<std::string> checkGpuTarget(StringRef chip, unsigned ptxVersion);

/// Compiles a module of LLVM dialect functions to PTX. Reports errors on
/// `module`.
FailureOr<std::string> emitPTX(gpu::GPUModuleOp module,
                               const GpuTargetOptions &options);

/// The assembler of the CUDA toolkit: `path` if given, else `ptxas` of PATH,
/// else that of CUDA_HOME. Nothing when there is none; `lookedFor` then says
/// what was tried.
std::optional<std::string> findPtxas(StringRef path, std::string &lookedFor);

/// What the assembler says of a kernel or device function.
struct KernelResources {
  std::string name;
  /// "file:line:column" of the op it is of, where that is known.
  std::string location;
  int64_t registers = 0;
  /// Bytes a thread stores to and loads from memory for want of registers.
  int64_t spillBytes = 0;
  /// Local memory of a thread: what is spilled, and arrays that are indexed.
  int64_t localBytes = 0;
  /// Shared memory of a block, but for what the launch adds.
  int64_t sharedBytes = 0;
};

/// Assembles PTX for `options.chip` and appends the result to `image`. Fills
/// `resources`, if given, for the kernels. Reports errors on `module`.
LogicalResult
assemblePTX(Operation *module, StringRef ptx, StringRef ptxas,
            const GpuTargetOptions &options, SmallVectorImpl<char> &image,
            SmallVectorImpl<KernelResources> *resources = nullptr);

/// The image of the kernels in `options.format`, as an artifact holds it: PTX
/// ends with a zero. Reports errors on `module`.
FailureOr<std::string> emitGpuImage(gpu::GPUModuleOp module,
                                    const GpuTargetOptions &options);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_GPU_GPU_H
