//===- EmitPTX.cpp - Kernels as PTX text ----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/GPU/GPU.h"
#include "moe-mlir/Target/LLVM/CodeGen.h"
#include "moe-mlir/Target/Math/Math.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kTriple = "nvptx64-nvidia-cuda";

static std::unique_ptr<llvm::TargetMachine>
createPTXMachine(Operation *module, const GpuTargetOptions &options) {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  return createTargetMachine(module, kTriple, options.chip,
                             llvm::formatv("+ptx{0}", options.ptxVersion).str(),
                             options.optLevel);
}

/// The start of the memory whose size the launch chooses, an array without
/// elements, has to come after all variables: as a definition PTX would take it
/// for one of a byte. Bulk copies are at full speed where both ends are at the
/// same place in a line of 128 bytes.
///
/// LLVM takes large variables without an alignment for aligned to 16 bytes and
/// merges accesses on that ground; the PTX would promise no more than the
/// element's.
static void alignSharedMemory(llvm::Module &code) {
  constexpr unsigned kSharedSpace = 3;
  const llvm::Align kLine(128);
  for (llvm::GlobalVariable &global : code.globals()) {
    if (global.getAddressSpace() != kSharedSpace)
      continue;
    auto *array = llvm::dyn_cast<llvm::ArrayType>(global.getValueType());
    if (array && array->getNumElements() == 0) {
      global.setLinkage(llvm::GlobalValue::ExternalLinkage);
      global.setInitializer(nullptr);
      global.setAlignment(kLine);
    } else if (!global.getAlign()) {
      global.setAlignment(llvm::Align(16));
    }
  }
}

/// There is no library to link with: every function has to be there.
static LogicalResult checkDefined(Operation *module, const llvm::Module &code) {
  for (const llvm::Function &function : code)
    if (function.isDeclaration() && !function.isIntrinsic() &&
        !function.use_empty())
      return module->emitError("a kernel needs the function '")
             << function.getName() << "', which no library for GPUs defines";
  return success();
}

FailureOr<std::string> moe::emitPTX(gpu::GPUModuleOp module,
                                    const GpuTargetOptions &options) {
  if (std::optional<std::string> error =
          checkGpuTarget(options.chip, options.ptxVersion))
    return module->emitError(*error), failure();
  llvm::LLVMContext context;
  bool hasErrors = false;
  reportCodeGenErrors(context, module, hasErrors);
  std::unique_ptr<llvm::TargetMachine> machine =
      createPTXMachine(module, options);
  if (!machine)
    return failure();

  // A plain module translates without a translation of the GPU dialect.
  OwningOpRef<ModuleOp> plain = ModuleOp::create(module.getLoc());
  for (Operation &op : *module.getBody())
    plain->getBody()->push_back(op.clone());
  // Before the translation, which gives accesses the alignment of their types:
  // with LLVM's default, 64-bit loads would be two of 32 bits each.
  (*plain)->setAttr(
      LLVM::LLVMDialect::getDataLayoutAttrName(),
      StringAttr::get(module.getContext(),
                      machine->createDataLayout().getStringRepresentation()));
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(*plain, context, "moe");
  if (!code)
    return module->emitError("translation to LLVM IR failed"), failure();
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  alignSharedMemory(*code);
  if (failed(linkMathLibrary(module, *code)))
    return failure();
  optimizeLLVM(*code, *machine, options.optLevel, /*vectorize=*/false);
  if (hasErrors || failed(checkDefined(module, *code)))
    return failure();

  SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, /*DwoOut=*/nullptr,
                                   llvm::CodeGenFileType::AssemblyFile))
    return module->emitError("no assembly emitter for ") << kTriple, failure();
  passes.run(*code);
  if (hasErrors)
    return failure();
  return text.str().str();
}
