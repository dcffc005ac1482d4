//===- MoEToHost.cpp - Pipeline to code for the CPU -----------------------===//
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
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::moe;

/// All of the first part, with the choices of `plan`.
static void buildBufferizationPipeline(OpPassManager &pm,
                                       const MoEPlanPassOptions &plan) {
  pm.addPass(createMoERenameSymbolsPass());
  MoEPrepareEntriesPassOptions entries;
  entries.transport = plan.transport;
  pm.addPass(createMoEPrepareEntriesPass(entries));
  MoECheckEntriesPassOptions check;
  check.target = plan.target;
  pm.addPass(createMoECheckEntriesPass(check));
  pm.addPass(createMoECheckOrderPass());
  pm.addPass(createMoEDropFlagsPass());
  // A buffer that a helper function returns has no owner that is known when it
  // is compiled, so it could not become symmetric in place.
  pm.addPass(createInlinerPass());
  pm.addPass(createMoECheckRoutesPass());
  pm.addPass(createMoECheckHostMemoryPass());
  pm.addPass(createMoEDecomposeAggregatesPass());
  pm.addPass(createMoEDecomposeTensorOpsPass());
  // Arithmetic on whole tensors, which has no bufferization of its own.
  pm.addPass(createConvertElementwiseToLinalgPass());
  pm.addPass(createMoESplitReductionsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createMoEFillSplatsPass());

  pm.addPass(bufferization::createEmptyTensorEliminationPass());
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.allowReturnAllocsFromLoops = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  bufferization::buildBufferDeallocationPipeline(
      pm, bufferization::BufferDeallocationPipelineOptions());
  // Clones: results that would otherwise be an argument, a constant or each
  // other.
  pm.addPass(createConvertBufferizationToMemRefPass());
  // What is freed at the end of a block is freed after its last use instead:
  // the layers of a model then share the memory of one.
  pm.addNestedPass<func::FuncOp>(
      bufferization::createOptimizeAllocationLivenessPass());

  pm.addPass(createMoEPlanPass(plan));
  if (plan.transport != "messages")
    pm.addPass(createMoEPlaceSymmetricBuffersPass());
  pm.addPass(createMoEAllocResultsPass());
  pm.addPass(createMoEPlaceHostBuffersPass());
}

static MoEPlanPassOptions getPlanOptions(const TargetPipelineOptions &options) {
  MoEPlanPassOptions plan;
  plan.combineAlgorithm = options.combineAlgorithm;
  plan.dispatchAlgorithm = options.dispatchAlgorithm;
  plan.transport = options.transport;
  plan.schedule = options.schedule;
  return plan;
}

void moe::buildMoEBufferizationPipeline(OpPassManager &pm,
                                        const MoEToHostOptions &options) {
  buildBufferizationPipeline(pm, getPlanOptions(options));
}

void moe::buildMoEBufferizationPipeline(OpPassManager &pm,
                                        const MoEToCUDAOptions &options) {
  MoEPlanPassOptions plan = getPlanOptions(options);
  plan.target = "cuda";
  plan.chip = options.chip;
  plan.blocks = options.blocks;
  plan.threads = options.threads;
  plan.transfer = options.transfer;
  plan.stages = options.stages;
  plan.team = options.team;
  buildBufferizationPipeline(pm, plan);
}

void moe::buildMoEToProtocolPipeline(OpPassManager &pm,
                                     const MoEToHostOptions &options) {
  bool hasMessages = options.transport == "messages";
  if (hasMessages) {
    ConvertMoEToCollPassOptions messages;
    messages.schedule = options.schedule == "padded" ? "padded" : "exact";
    messages.pairCapacity = options.pairCapacity;
    pm.addPass(createConvertMoEToCollPass(messages));
  } else {
    pm.addPass(createConvertMoEToSymmPass());
  }
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  if (!hasMessages)
    pm.addPass(symm::createSymmAssignOffsetsPass());
}

void moe::buildSmallFloatsPipeline(OpPassManager &pm, bool hasKernels) {
  pm.addPass(createMoEExpandMathPass());
  pm.addPass(createMoEExpandScalarMathPass());
  pm.addPass(math::createMathExtendToSupportedTypes());
  arith::ArithEmulateUnsupportedFloatsOptions emulate;
  emulate.sourceTypeStrs = {"bf16", "f16", "f8E4M3FN", "f8E5M2"};
  emulate.targetTypeStr = "f32";
  pm.addPass(arith::createArithEmulateUnsupportedFloats(emulate));
  pm.addPass(createMoEExpandF64CastsPass());
  pm.addPass(createMoEExpandFloat8Pass());
  if (hasKernels)
    pm.addPass(createMoERoundBF16InKernelsPass());
  arith::ArithExpandOpsPassOptions expand;
  // On CPUs the library function for it is missing in the C libraries of
  // GCC 12.
  expand.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(expand));
}

void moe::buildLLVMToArtifactPipeline(OpPassManager &pm, StringRef target,
                                      StringRef cpu, unsigned optLevel,
                                      StringRef transport) {
  // What is left of host code, to the LLVM dialect.
  FinalizeMemRefToLLVMConversionPassOptions memref;
  memref.useAlignedAlloc = true;
  memref.useGenericFunctions = true;
  pm.addPass(createFinalizeMemRefToLLVMConversionPass(memref));
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());

  // Artifact.
  pm.addPass(createMoEUseRuntimeAllocatorPass());
  pm.addPass(createMoEStoreBF16AsIntegersPass());
  pm.addPass(createMoEVerifyTargetContractPass());
  MoEExportEntriesPassOptions entries;
  entries.target = target.str();
  entries.cpu = cpu.str();
  entries.optLevel = optLevel;
  entries.transport = transport.str();
  pm.addPass(createMoEExportEntriesPass(entries));
}

void moe::buildSymmToHostPipeline(OpPassManager &pm,
                                  const MoEToHostOptions &options) {
  // Loops.
  pm.addPass(symm::createSymmExpandRowCopiesPass());
  pm.addPass(memref::createExpandOpsPass());
  pm.addPass(createMoEExpandCopiesPass());
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  pm.addNestedPass<func::FuncOp>(createForallToForLoopPass());

  buildSmallFloatsPipeline(pm);
  pm.addPass(createMoECallMathFunctionsPass());

  pm.addPass(createConvertCollToLLVMPass());
  pm.addPass(createConvertSymmToLLVMPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createLoopInvariantCodeMotionPass());

  // LLVM dialect.
  pm.addPass(createConvertVectorToSCFPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addNestedPass<func::FuncOp>(createConvertMathToLLVMPass());
  buildLLVMToArtifactPipeline(pm, "host", options.cpu, options.optLevel,
                              options.transport);
}

void moe::buildSymmKernelsToHostPipeline(OpPassManager &pm,
                                         const MoEToHostOptions &options) {
  pm.addPass(createGpuLaunchSinkIndexComputationsPass());
  pm.addPass(createMoEKernelsToFibersPass());
  buildSymmToHostPipeline(pm, options);
}

void moe::buildMoEToHostPipeline(OpPassManager &pm,
                                 const MoEToHostOptions &options) {
  buildMoEBufferizationPipeline(pm, options);
  buildMoEToProtocolPipeline(pm, options);
  buildSymmToHostPipeline(pm, options);
}

void moe::registerPipelines() {
  registerMoETargetPasses();
  PassPipelineRegistration<MoEToHostOptions>(
      "moe-to-host",
      "Lower moe ops on tensors to the LLVM dialect, ready for an artifact "
      "that runs on CPUs",
      buildMoEToHostPipeline);
  PassPipelineRegistration<MoEToCUDAOptions>(
      "moe-to-cuda",
      "Lower moe ops on tensors to PTX and the LLVM dialect, ready for an "
      "artifact that runs on NVIDIA GPUs",
      buildMoEToCUDAPipeline);
}
