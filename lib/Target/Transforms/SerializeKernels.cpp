//===- SerializeKernels.cpp - Kernels as a constant of the artifact -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Target/GPU/GPU.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOESERIALIZEKERNELSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

struct MoESerializeKernelsPass
    : public moe::impl::MoESerializeKernelsPassBase<MoESerializeKernelsPass> {
  using MoESerializeKernelsPassBase::MoESerializeKernelsPassBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    MoESerializeKernelsPassBase::getDependentDialects(registry);
    registerBuiltinDialectTranslation(registry);
    registerLLVMDialectTranslation(registry);
    registerNVVMDialectTranslation(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // Also when there is no kernel: a wrong chip is a wrong chip.
    unsigned version = ptxVersion ? unsigned(ptxVersion)
                                  : getDefaultPtxVersion(chip.getValue());
    if (std::optional<std::string> error = checkGpuTarget(chip, version)) {
      emitError(module.getLoc(), *error);
      return signalPassFailure();
    }
    if (format != "ptx" && format != "cubin") {
      emitError(module.getLoc(),
                "moe-serialize-kernels expects 'format' to be ptx or cubin (")
          << format << ")";
      return signalPassFailure();
    }
    OpBuilder builder(&getContext());
    NamedAttrList notes;
    notes.append("chip", builder.getStringAttr(chip));
    notes.append("format", builder.getStringAttr(format));
    SmallVector<gpu::GPUModuleOp> kernels(module.getOps<gpu::GPUModuleOp>());
    if (kernels.size() > 1) {
      kernels[1]->emitOpError("is a second GPU module; run "
                              "moe-merge-kernel-modules first");
      return signalPassFailure();
    }
    for (gpu::GPUModuleOp kernelModule : kernels) {
      FailureOr<std::string> image =
          emitGpuImage(kernelModule, {chip, version, optLevel, format, ptxas});
      if (failed(image))
        return signalPassFailure();
      builder.setInsertionPoint(kernelModule);
      // A cubin is an ELF file, whose headers drivers may read in place.
      LLVM::GlobalOp::create(
          builder, kernelModule.getLoc(),
          LLVM::LLVMArrayType::get(builder.getI8Type(), image->size()),
          /*isConstant=*/true, LLVM::Linkage::External, kGpuImageName,
          builder.getStringAttr(*image), /*alignment=*/16);
      notes.set("bytes", builder.getI64IntegerAttr(image->size()));
      kernelModule.erase();
    }
    module->removeAttr(gpu::GPUDialect::getContainerModuleAttrName());
    module->setAttr(kGpuAttrName, notes.getDictionary(&getContext()));
  }
};

} // namespace
