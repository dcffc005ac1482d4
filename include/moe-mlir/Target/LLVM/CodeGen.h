//===- CodeGen.h - what targets share after MLIR ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_LLVM_CODEGEN_H
#define MOE_MLIR_TARGET_LLVM_CODEGEN_H

#include "mlir/Support/LLVM.h"
#include <memory>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace mlir {
class Operation;
} // namespace mlir

namespace mlir::moe {

/// The code generator for `triple`, with position-independent code, in which a
/// product and a sum are rounded one by one: every target gives the same bits,
/// whether it has fused instructions or not. Null, with an error at `op`, when
/// LLVM has none; the target has to be initialized.
std::unique_ptr<llvm::TargetMachine>
createTargetMachine(Operation *op, StringRef triple, StringRef cpu,
                    StringRef features, unsigned optLevel);

/// Reports errors of LLVM's passes on `op`, which would end the process
/// otherwise, and sets `failed`. Both have to live as long as `context` is used
/// or until the next call.
void reportCodeGenErrors(llvm::LLVMContext &context, Operation *op,
                         bool &failed);

/// Runs LLVM's default pipeline for `optLevel`, 0 to 3. The vectorizers run
/// from level 2 on when `vectorize` is set.
void optimizeLLVM(llvm::Module &code, llvm::TargetMachine &machine,
                  unsigned optLevel, bool vectorize);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_LLVM_CODEGEN_H
