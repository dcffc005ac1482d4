//===- ReportKernels.cpp - Registers and memory of kernels ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Target/Driver/Report.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult CompileReport::collectKernels(ModuleOp module,
                                            const GpuTargetOptions &options) {
  std::string lookedFor;
  std::optional<std::string> ptxas = findPtxas(options.ptxas, lookedFor);
  if (!ptxas)
    return success();
  for (auto kernelModule : module.getOps<gpu::GPUModuleOp>()) {
    FailureOr<std::string> ptx = emitPTX(kernelModule, options);
    SmallVector<char, 0> image;
    if (failed(ptx) || failed(assemblePTX(kernelModule, *ptx, *ptxas, options,
                                          image, &kernels)))
      return failure();
  }
  llvm::sort(kernels, [](const KernelResources &a, const KernelResources &b) {
    // _2 before _10.
    return StringRef(a.name).compare_numeric(b.name) < 0;
  });
  // The launch has the place of the op, and may add shared memory.
  llvm::StringMap<int64_t> added;
  llvm::StringMap<std::string> places;
  module.walk([&](gpu::LaunchFuncOp launch) {
    places.try_emplace(launch.getKernelName().getValue(),
                       describeLocation(launch.getLoc()));
    APInt bytes;
    Value size = launch.getDynamicSharedMemorySize();
    if (size && matchPattern(size, m_ConstantInt(&bytes)))
      added[launch.getKernelName().getValue()] = bytes.getSExtValue();
  });
  for (KernelResources &kernel : kernels) {
    kernel.sharedBytes += added.lookup(kernel.name);
    kernel.location = places.lookup(kernel.name);
  }
  return success();
}
