//===- Settings.cpp - Options of a compilation that were read -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Options.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace mlir::moe;

/// The assembler as this machine has it: its path, size and time.
static std::string describePtxas(const GpuTargetOptions &gpu) {
  std::string lookedFor;
  std::optional<std::string> path = findPtxas(gpu.ptxas, lookedFor);
  if (!path)
    return "none";
  llvm::sys::fs::file_status status;
  if (llvm::sys::fs::status(*path, status))
    return *path;
  return *path + ":" + std::to_string(status.getSize()) + ":" +
         std::to_string(
             status.getLastModificationTime().time_since_epoch().count());
}

std::string moe::describeSettings(const CompileSettings &settings) {
  const CompileOptions &compile = settings.compile;
  std::string text;
  llvm::raw_string_ostream os(text);
  const auto *stage =
      llvm::find_if(getStageInfos(), [&](const StageInfo &info) {
        return info.stage == compile.stage;
      });
  os << "emit=" << stage->name << "\ncpu=" << compile.host.cpu
     << "\nopt-level=" << compile.host.optLevel
     << "\ncombine-algorithm=" << compile.combineAlgorithm
     << "\ndispatch-algorithm=" << compile.dispatchAlgorithm
     << "\ntransport=" << compile.transport << "\nschedule=" << compile.schedule
     << "\npair-capacity=" << compile.pairCapacity
     << "\nreport=" << settings.report << "\nremarks=" << settings.remarks
     << "\ntarget=";
  bool hasKernels = true;
  if (compile.target == TargetKind::CUDA) {
    const GpuTargetOptions &gpu = compile.gpu;
    os << "cuda:" << gpu.chip << "\nptx-version=" << gpu.ptxVersion
       << "\ngpu-format=" << gpu.format;
    // The report has what it says of kernels.
    if (gpu.format == "cubin" || !settings.report.empty())
      os << "\nptxas=" << describePtxas(gpu);
  } else {
    hasKernels = compile.kernelPlace == KernelPlace::Fibers;
    os << (hasKernels ? "host\nkernels=fibers" : "host");
  }
  if (hasKernels)
    os << "\nblocks=" << compile.kernel.blocks
       << "\nthreads=" << compile.kernel.threads
       << "\ntransfer=" << compile.kernel.transfer
       << "\nstages=" << compile.kernel.stages
       << "\nteam=" << compile.kernel.team;
  os << '\n';
  return text;
}

LogicalResult moe::setUpRemarks(MLIRContext &context,
                                const CompileSettings &settings) {
  if (settings.remarks.empty())
    return success();
  remark::RemarkCategories categories;
  categories.passed = categories.missed = categories.analysis =
      categories.failed = settings.remarks;
  return remark::enableOptimizationRemarks(
      context, /*streamer=*/nullptr,
      std::make_unique<remark::RemarkEmittingPolicyAll>(), categories,
      /*printAsEmitRemarks=*/true);
}
