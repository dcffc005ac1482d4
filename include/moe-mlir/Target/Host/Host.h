//===- Host.h - Machine code for CPUs ---------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_HOST_HOST_H
#define MOE_MLIR_TARGET_HOST_HOST_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace mlir::moe {

struct HostTargetOptions {
  /// One of the x86-64 levels of `getHostCpuLevels`.
  std::string cpu = "x86-64-v3";
  /// 0 to 3.
  unsigned optLevel = 3;
};

/// The levels that code can be compiled for, lowest first.
ArrayRef<StringRef> getHostCpuLevels();

/// The highest level that this machine has.
StringRef getNativeCpuLevel();

/// Registers the translations from MLIR to LLVM IR that `emitHostLLVM` needs.
void registerHostTranslations(DialectRegistry &registry);

/// Translates a module of the LLVM dialect to LLVM IR and optimizes it for the
/// target. Reports errors on ops of `module` and returns null.
std::unique_ptr<llvm::Module> emitHostLLVM(ModuleOp module,
                                           llvm::LLVMContext &context,
                                           const HostTargetOptions &options);

/// Compiles what `emitHostLLVM` returned to a position-independent ELF object.
LogicalResult emitHostObject(ModuleOp module, llvm::Module &code,
                             const HostTargetOptions &options,
                             llvm::SmallVectorImpl<char> &object);

/// Links an object to a shared object, in this process. Symbols that neither
/// the object nor the runtime, libc or libm define are an error, unless they
/// start with `otherPrefix`, when that is given.
LogicalResult linkHostSharedObject(ModuleOp module, ArrayRef<char> object,
                                   llvm::SmallVectorImpl<char> &sharedObject,
                                   StringRef otherPrefix = {});

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_HOST_HOST_H
