//===- MoEToCUDA.cpp - Pipeline to code for NVIDIA GPUs -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Pipelines/Pipelines.h"

#include "moe-mlir/Conversion/Passes.h"
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"
#include "moe-mlir/Dialect/Symm/Transforms/Passes.h"
#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::moe;

void moe::buildMoEToSymmKernelsPipeline(OpPassManager &pm,
                                        const MoEToCUDAOptions &options) {
  bool hasMessages = options.transport == "messages";
  if (hasMessages) {
    ConvertMoEToCollPassOptions kernels;
    kernels.target = "cuda";
    kernels.schedule = options.schedule == "padded" ? "padded" : "exact";
    kernels.pairCapacity = options.pairCapacity;
    pm.addPass(createConvertMoEToCollPass(kernels));
  } else {
    ConvertMoEToSymmPassOptions kernels;
    kernels.target = "cuda";
    pm.addPass(createConvertMoEToSymmPass(kernels));
  }
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  if (!hasMessages)
    pm.addPass(symm::createSymmAssignOffsetsPass());
}

void moe::buildSymmToNVVMPipeline(OpPassManager &pm,
                                  const MoEToCUDAOptions &options) {
  // The rest of the module: everything that touches buffers.
  symm::SymmExpandRowCopiesPassOptions copies;
  copies.target = "cuda";
  pm.addPass(symm::createSymmExpandRowCopiesPass(copies));
  pm.addPass(memref::createExpandOpsPass());
  pm.addPass(createMoEExpandCopiesPass());
  pm.addNestedPass<func::FuncOp>(createMoECopyConstantsToDevicePass());
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToParallelLoopsPass());
  pm.addNestedPass<func::FuncOp>(createForallToParallelLoopPass());
  pm.addNestedPass<func::FuncOp>(createMoEParallelLoopsToKernelsPass());

  buildSmallFloatsPipeline(pm, /*hasKernels=*/true);

  // Kernels are specialised for the constants of the module: those must not
  // become arguments.
  pm.addPass(createGpuLaunchSinkIndexComputationsPass());
  pm.addPass(createGpuKernelOutliningPass());
  pm.addPass(createMoEMergeKernelModulesPass());
  pm.addPass(createConvertSymmToNVVMPass());
  ConvertCollToLLVMPassOptions messages;
  messages.target = "cuda";
  pm.addPass(createConvertCollToLLVMPass(messages));
  pm.addPass(createConvertSymmToLLVMPass());
  pm.addPass(createMoECallMathFunctionsPass());
  pm.addPass(createMoEExpandKernelMathPass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(expand));
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createLoopInvariantCodeMotionPass());

  auto &kernels = pm.nest<gpu::GPUModuleOp>();
  kernels.addPass(createConvertVectorToSCFPass());
  kernels.addPass(createSCFToControlFlowPass());
  // What classifies and counts; functions are expanded already.
  kernels.addPass(createConvertMathToLLVMPass());
  ConvertGpuOpsToNVVMOpsOptions nvvm;
  nvvm.indexBitwidth = 64;
  nvvm.hasRedux = true;
  kernels.addPass(createConvertGpuOpsToNVVMOps(nvvm));
  kernels.addPass(createConvertVectorToLLVMPass());
  kernels.addPass(createUBToLLVMConversionPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
}

void moe::buildNVVMToArtifactPipeline(OpPassManager &pm,
                                      const MoEToCUDAOptions &options) {
  pm.addPass(createMoEUseRuntimeLaunchPass());
  MoESerializeKernelsPassOptions serialize;
  serialize.chip = options.chip;
  serialize.ptxVersion = options.ptxVersion;
  serialize.optLevel = options.optLevel;
  serialize.format = options.gpuFormat;
  serialize.ptxas = options.ptxas;
  pm.addPass(createMoESerializeKernelsPass(serialize));

  pm.addPass(createSCFToControlFlowPass());
  pm.addNestedPass<func::FuncOp>(createConvertMathToLLVMPass());
  buildLLVMToArtifactPipeline(pm, "cuda", options.cpu, options.optLevel,
                              options.transport);
}

void moe::buildMoEToCUDAPipeline(OpPassManager &pm,
                                 const MoEToCUDAOptions &options) {
  buildMoEBufferizationPipeline(pm, options);
  buildMoEToSymmKernelsPipeline(pm, options);
  buildSymmToNVVMPipeline(pm, options);
  buildNVVMToArtifactPipeline(pm, options);
}
