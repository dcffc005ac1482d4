//===- Compiler.cpp - From a module to an artifact ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Compiler.h"

#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/MoE/Transforms/BufferizableOpInterfaceImpl.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"
#include "moe-mlir/Pipelines/Pipelines.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/Transforms/BufferDeallocationOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferDeallocationOpInterfaceImpl.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/Transforms/AllocationOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/Transforms/BufferViewFlowOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferDeallocationOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Shard/IR/ShardDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Vector/Transforms/SubsetOpInterfaceImpl.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace mlir::moe;

void moe::registerCompilerDialects(DialectRegistry &registry) {
  registry.insert<affine::AffineDialect, arith::ArithDialect,
                  bufferization::BufferizationDialect, cf::ControlFlowDialect,
                  coll::CollDialect, func::FuncDialect, gpu::GPUDialect,
                  index::IndexDialect, linalg::LinalgDialect, LLVM::LLVMDialect,
                  math::MathDialect, memref::MemRefDialect, MoEDialect,
                  NVVM::NVVMDialect, scf::SCFDialect, shard::ShardDialect,
                  symm::SymmDialect, tensor::TensorDialect, ub::UBDialect,
                  vector::VectorDialect>();

  moe::registerBufferizableOpInterfaceExternalModels(registry);
  affine::registerValueBoundsOpInterfaceExternalModels(registry);
  arith::registerBufferDeallocationOpInterfaceExternalModels(registry);
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  arith::registerValueBoundsOpInterfaceExternalModels(registry);
  bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(
      registry);
  cf::registerBufferDeallocationOpInterfaceExternalModels(registry);
  cf::registerBufferizableOpInterfaceExternalModels(registry);
  func::registerInlinerExtension(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerSubsetOpInterfaceExternalModels(registry);
  memref::registerAllocationOpInterfaceExternalModels(registry);
  memref::registerBufferViewFlowOpInterfaceExternalModels(registry);
  memref::registerValueBoundsOpInterfaceExternalModels(registry);
  scf::registerBufferDeallocationOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  scf::registerValueBoundsOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
  tensor::registerValueBoundsOpInterfaceExternalModels(registry);
  vector::registerBufferizableOpInterfaceExternalModels(registry);
  vector::registerSubsetOpInterfaceExternalModels(registry);
  registerHostTranslations(registry);
  registerNVVMDialectTranslation(registry);

  // What the lowering of kernels converts.
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  NVVM::registerConvertGpuToNVVMInterface(registry);
  index::registerConvertIndexToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  registerConvertNVVMToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
}

/// Prints `module` at the end of `output`.
static void printModule(ModuleOp module, SmallVectorImpl<char> &output) {
  llvm::raw_svector_ostream os(output);
  module.print(os);
  os << '\n';
}

/// The kernels of `module` in the given format; empty when it has none.
static StringRef getImage(ModuleOp module, StringRef format) {
  auto image = module.lookupSymbol<LLVM::GlobalOp>(kGpuImageName);
  if (!image)
    return {};
  StringRef value = cast<StringAttr>(image.getValueOrNull()).getValue();
  return format == "ptx" ? value.drop_back() : value;
}

namespace {

/// Runs the parts of a target's pipeline one after the other.
class PipelineRunner {
public:
  PipelineRunner(ModuleOp module, const CompileOptions &options)
      : module(module), options(options) {}

  LogicalResult run(llvm::function_ref<void(OpPassManager &)> build) {
    auto &pm = *managers.emplace_back(
        std::make_unique<PassManager>(module->getName()));
    if (options.configure && failed(options.configure(pm)))
      return failure();
    build(pm);
    return pm.run(module);
  }

private:
  ModuleOp module;
  const CompileOptions &options;
  /// Timers tell passes apart by their addresses: all live to the end.
  std::vector<std::unique_ptr<PassManager>> managers;
};

/// The parts of a target's pipeline that stages lie between.
struct Parts {
  using Part = std::function<void(OpPassManager &)>;
  Part bufferize, toProtocol, toMLIR, toArtifact;
};

} // namespace

static void setTargetOptions(const CompileOptions &options,
                             TargetPipelineOptions &pipeline) {
  pipeline.combineAlgorithm = options.combineAlgorithm;
  pipeline.dispatchAlgorithm = options.dispatchAlgorithm;
  pipeline.cpu = options.host.cpu;
  pipeline.optLevel = options.host.optLevel;
  pipeline.transport = options.transport;
  pipeline.schedule = options.schedule;
  pipeline.pairCapacity = options.pairCapacity;
}

static Parts getParts(const CompileOptions &options) {
  Parts parts;
  auto host = std::make_shared<MoEToHostOptions>();
  setTargetOptions(options, *host);
  bool usesFibers = options.kernelPlace == KernelPlace::Fibers;
  if (options.target == TargetKind::Host && !usesFibers) {
    parts.bufferize = [host](OpPassManager &pm) {
      buildMoEBufferizationPipeline(pm, *host);
    };
    parts.toProtocol = [host](OpPassManager &pm) {
      buildMoEToProtocolPipeline(pm, *host);
    };
    parts.toArtifact = [host](OpPassManager &pm) {
      buildSymmToHostPipeline(pm, *host);
    };
    return parts;
  }
  auto cuda = std::make_shared<MoEToCUDAOptions>();
  setTargetOptions(options, *cuda);
  cuda->chip = options.gpu.chip;
  cuda->ptxVersion = options.gpu.ptxVersion;
  cuda->gpuFormat = options.gpu.format;
  cuda->ptxas = options.gpu.ptxas;
  cuda->blocks = options.kernel.blocks;
  cuda->threads = options.kernel.threads;
  cuda->transfer = options.kernel.transfer;
  cuda->stages = options.kernel.stages;
  cuda->team = options.kernel.team;
  parts.bufferize = [cuda](OpPassManager &pm) {
    buildMoEBufferizationPipeline(pm, *cuda);
  };
  parts.toProtocol = [cuda](OpPassManager &pm) {
    buildMoEToSymmKernelsPipeline(pm, *cuda);
  };
  if (usesFibers) {
    parts.toArtifact = [host](OpPassManager &pm) {
      buildSymmKernelsToHostPipeline(pm, *host);
    };
    return parts;
  }
  parts.toMLIR = [cuda](OpPassManager &pm) {
    buildSymmToNVVMPipeline(pm, *cuda);
  };
  parts.toArtifact = [cuda](OpPassManager &pm) {
    buildNVVMToArtifactPipeline(pm, *cuda);
  };
  return parts;
}

LogicalResult moe::compileModule(ModuleOp module, const CompileOptions &options,
                                 SmallVectorImpl<char> &output,
                                 CompileReport *report, std::string *ptx) {
  Parts parts = getParts(options);
  PipelineRunner runner(module, options);
  if (failed(runner.run(parts.bufferize)))
    return failure();
  if (report)
    report->collectCollectives(module, options.transport == "messages");
  if (failed(runner.run(parts.toProtocol)))
    return failure();
  if (report && options.transport == "messages")
    report->collectMessageBytes(module);
  else if (report)
    report->collectSymmetricBytes(module);
  if (options.stage == Stage::Symm || options.stage == Stage::Coll) {
    printModule(module, output);
    return success();
  }

  // With kernels, the LLVM dialect is that of the kernels and the host code
  // that launches them; without, that of the artifact.
  if (parts.toMLIR && failed(runner.run(parts.toMLIR)))
    return failure();
  if (parts.toMLIR && report &&
      failed(report->collectKernels(module, options.gpu)))
    return failure();
  if (parts.toMLIR && options.stage == Stage::MLIR) {
    printModule(module, output);
    return success();
  }
  if (failed(runner.run(parts.toArtifact)))
    return failure();
  if (options.stage == Stage::MLIR) {
    printModule(module, output);
    return success();
  }
  if (ptx && options.gpu.format == "ptx")
    *ptx = getImage(module, options.gpu.format).str();
  if (options.stage == Stage::PTX || options.stage == Stage::Cubin) {
    llvm::append_range(output, getImage(module, options.gpu.format));
    return success();
  }

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code =
      emitHostLLVM(module, context, options.host);
  if (!code)
    return failure();
  if (options.stage == Stage::LLVM) {
    llvm::raw_svector_ostream os(output);
    code->print(os, /*AAW=*/nullptr);
    return success();
  }

  SmallVector<char, 0> object;
  if (failed(emitHostObject(module, *code, options.host, object)))
    return failure();
  if (options.stage == Stage::Object) {
    output.append(object.begin(), object.end());
    return success();
  }

  SmallVector<char, 0> artifact;
  if (failed(linkHostSharedObject(
          module, object, artifact,
          options.kernelPlace == KernelPlace::Fibers ? "moe_fiber_" : "")))
    return failure();
  if (report)
    report->artifactBytes = artifact.size();
  output.append(artifact.begin(), artifact.end());
  return success();
}
