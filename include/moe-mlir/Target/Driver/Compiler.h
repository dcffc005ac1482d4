//===- Compiler.h - From a module to an artifact ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_DRIVER_COMPILER_H
#define MOE_MLIR_TARGET_DRIVER_COMPILER_H

#include "moe-mlir/Target/Driver/Report.h"
#include "moe-mlir/Target/GPU/GPU.h"
#include "moe-mlir/Target/Host/Host.h"

#include "mlir/IR/BuiltinOps.h"
#include <functional>

namespace mlir {
class PassManager;
} // namespace mlir

namespace mlir::moe {

/// What the compiler can put out: any stage on the way, or the artifact.
enum class Stage {
  Symm,        ///< the one-sided protocol: symm, scf, memref, arith
  Coll,        ///< the protocol of messages: coll, scf, memref, arith
  MLIR,        ///< the LLVM dialect
  LLVM,        ///< optimized LLVM IR of host code, as text
  PTX,         ///< the kernels, as text
  Cubin,       ///< the kernels, assembled for one chip
  Object,      ///< an ELF object
  SharedObject ///< the artifact
};

enum class TargetKind { Host, CUDA };

/// What `moe-plan` is to choose of kernels ("auto" and 0), or to take.
struct KernelOptions {
  int64_t blocks = 0;
  int64_t threads = 0;
  std::string transfer = "auto";
  int64_t stages = 0;
  int64_t team = 0;
};

/// Where the kernels of a module run.
enum class KernelPlace {
  Device,
  /// On CPUs, with `TargetKind::Host`: a library that is loaded before the
  /// artifact executes their threads as fibers. For tests.
  Fibers
};

struct CompileOptions {
  Stage stage = Stage::SharedObject;
  TargetKind target = TargetKind::Host;
  HostTargetOptions host;
  /// For TargetKind::CUDA.
  GpuTargetOptions gpu;
  KernelOptions kernel;
  KernelPlace kernelPlace = KernelPlace::Device;
  /// How ranks exchange rows: "direct" or "messages".
  std::string transport = "direct";
  /// See `convert-moe-to-coll`.
  int64_t pairCapacity = 0;
  /// See `moe-plan`.
  std::string schedule = "auto";
  std::string combineAlgorithm = "auto";
  std::string dispatchAlgorithm = "auto";
  /// Called for each pass manager before it runs; may fail.
  std::function<LogicalResult(PassManager &)> configure;
};

/// Registers the dialects, interface models and translations that modules given
/// to `compileModule` may use. Fewer than all of MLIR, for a quick start.
void registerCompilerDialects(DialectRegistry &registry);

/// Lowers `module` in place and appends the result to `output`. Errors are
/// reported as diagnostics. Fills `report` and `ptx` when they are given; `ptx`
/// stays empty where the image of kernels is no PTX.
LogicalResult compileModule(ModuleOp module, const CompileOptions &options,
                            SmallVectorImpl<char> &output,
                            CompileReport *report = nullptr,
                            std::string *ptx = nullptr);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_DRIVER_COMPILER_H
