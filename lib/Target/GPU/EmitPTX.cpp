//===- EmitPTX.cpp - Kernels as PTX text ----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/GPU/GPU.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kTriple = "nvptx64-nvidia-cuda";

namespace {

/// Reports errors of LLVM's passes on `module`; they would end the process
/// otherwise.
struct Handler : public llvm::DiagnosticHandler {
  Handler(Operation *module, bool &failed) : module(module), failed(failed) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    if (info.getSeverity() != llvm::DS_Error)
      return true;
    std::string text;
    llvm::raw_string_ostream os(text);
    llvm::DiagnosticPrinterRawOStream printer(os);
    info.print(printer);
    module->emitError("code generation failed: ") << text;
    failed = true;
    return true;
  }
  Operation *module;
  bool &failed;
};

} // namespace

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(Operation *module, const GpuTargetOptions &options) {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  llvm::Triple triple(kTriple);
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) {
    module->emitError("no code generator for ") << kTriple << ": " << error;
    return nullptr;
  }
  llvm::TargetOptions targetOptions;
  // Product and sum are rounded one by one, as on the host: every target gives
  // the same bits.
  targetOptions.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, options.chip, llvm::formatv("+ptx{0}", options.ptxVersion).str(),
      targetOptions, llvm::Reloc::PIC_, std::nullopt,
      static_cast<llvm::CodeGenOptLevel>(options.optLevel)));
}

static void optimize(llvm::Module &code, llvm::TargetMachine &machine,
                     unsigned optLevel) {
  llvm::PassBuilder builder(&machine);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager callGraph;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  static const llvm::OptimizationLevel levels[] = {
      llvm::OptimizationLevel::O0, llvm::OptimizationLevel::O1,
      llvm::OptimizationLevel::O2, llvm::OptimizationLevel::O3};
  llvm::OptimizationLevel level = levels[std::min(optLevel, 3u)];
  llvm::ModulePassManager passes =
      optLevel == 0 ? builder.buildO0DefaultPipeline(level)
                    : builder.buildPerModuleDefaultPipeline(level);
  passes.run(code, modules);
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
  context.setDiagnosticHandler(std::make_unique<Handler>(module, hasErrors));
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(module, options);
  if (!machine)
    return failure();

  // A plain module translates without a translation of the GPU dialect.
  OwningOpRef<ModuleOp> plain = ModuleOp::create(module.getLoc());
  for (Operation &op : *module.getBody())
    plain->getBody()->push_back(op.clone());
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(*plain, context, "moe");
  if (!code)
    return module->emitError("translation to LLVM IR failed"), failure();
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  optimize(*code, *machine, options.optLevel);
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
