//===- EmitObject.cpp - LLVM dialect to machine code ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Host/Host.h"
#include "moe-mlir/Target/LLVM/CodeGen.h"
#include "moe-mlir/Target/Math/Math.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;

static constexpr llvm::StringLiteral kTriple = "x86_64-unknown-linux-gnu";

void moe::registerHostTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

static std::unique_ptr<llvm::TargetMachine>
createHostMachine(ModuleOp module, const moe::HostTargetOptions &options) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialized;
  return moe::createTargetMachine(module, kTriple, options.cpu,
                                  /*features=*/"", options.optLevel);
}

std::unique_ptr<llvm::Module>
moe::emitHostLLVM(ModuleOp module, llvm::LLVMContext &context,
                  const HostTargetOptions &options) {
  bool hasErrors = false;
  reportCodeGenErrors(context, module, hasErrors);
  std::unique_ptr<llvm::TargetMachine> machine =
      createHostMachine(module, options);
  if (!machine)
    return nullptr;
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(module, context, "moe");
  if (!code) {
    emitError(module.getLoc(), "translation to LLVM IR failed");
    return nullptr;
  }
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  if (failed(linkMathLibrary(module, *code)))
    return nullptr;
  optimizeLLVM(*code, *machine, options.optLevel, /*vectorize=*/true);
  return hasErrors ? nullptr : std::move(code);
}

LogicalResult moe::emitHostObject(ModuleOp module, llvm::Module &code,
                                  const HostTargetOptions &options,
                                  llvm::SmallVectorImpl<char> &object) {
  bool hasErrors = false;
  reportCodeGenErrors(code.getContext(), module, hasErrors);
  std::unique_ptr<llvm::TargetMachine> machine =
      createHostMachine(module, options);
  if (!machine)
    return failure();
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, /*DwoOut=*/nullptr,
                                   llvm::CodeGenFileType::ObjectFile))
    return emitError(module.getLoc(), "no object file emitter for ") << kTriple;
  passes.run(code);
  return failure(hasErrors);
}
