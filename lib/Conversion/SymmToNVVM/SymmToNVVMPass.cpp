//===- SymmToNVVMPass.cpp - symm dialect to NVVM dialect ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/Passes.h"

#include "DeviceLibrary.h"
#include "KernelLowering.h"
#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Conversion/SymmToNVVM/SymmToNVVM.h"

#include "mlir/Conversion/GPUCommon/GPUCommonPass.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTSYMMTONVVMPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The argument of `function` that has the number of the collective which calls
/// it; null without one.
static Value findSiteArgument(FunctionOpInterface function) {
  for (BlockArgument argument : function.getArguments())
    if (function.getArgAttr(argument.getArgNumber(), symm::kSiteAttrName))
      return argument;
  return {};
}

/// The collective and phase that host code is in where it launches `launch`:
/// those that stand last before it in its function, or the caller's.
static LaunchPlace findPlace(gpu::LaunchFuncOp launch) {
  LaunchPlace place;
  auto function = launch->getParentOfType<FunctionOpInterface>();
  place.siteArgument = findSiteArgument(function);
  function->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op == launch)
      return WalkResult::interrupt();
    if (auto begin = dyn_cast<symm::CollectiveBeginOp>(op))
      place = {static_cast<int64_t>(begin.getSite()), Value(), StringAttr()};
    else if (auto phase = dyn_cast<symm::PhaseOp>(op))
      place.phase = phase.getPhaseAttr();
    else if (isa<symm::CollectiveEndOp>(op))
      place = {};
    return WalkResult::advance();
  });
  return place;
}

namespace {

struct ConvertSymmToNVVMPass
    : public moe::impl::ConvertSymmToNVVMPassBase<ConvertSymmToNVVMPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(checkHostCode(module)))
      return signalPassFailure();
    llvm::MapVector<gpu::GPUFuncOp, SmallVector<gpu::LaunchFuncOp>> kernels;
    bool mayStop = false;
    for (auto gpuModule : module.getOps<gpu::GPUModuleOp>())
      mayStop |= hasAssertions(gpuModule);
    module.walk([&](gpu::GPUFuncOp kernel) {
      boundGrid(kernel);
      if (mayStop || symm::holdsSymmOps(kernel))
        kernels[kernel];
    });
    module.walk([&](gpu::LaunchFuncOp launch) {
      auto kernel = SymbolTable::lookupNearestSymbolFrom<gpu::GPUFuncOp>(
          launch, launch.getKernel());
      if (kernel && kernels.contains(kernel))
        kernels[kernel].push_back(launch);
    });

    LLVMTypeConverter converter(&getContext());
    addSymmToLLVMTypeConversions(converter);
    populateGpuMemorySpaceAttributeConversions(
        converter, [](gpu::AddressSpace space) -> unsigned {
          return space == gpu::AddressSpace::Workgroup
                     ? static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared)
                     : 0;
        });
    DeviceStrings strings;
    AssertionSites assertions(module);
    for (auto &[kernel, launches] : kernels) {
      LaunchPlace place;
      for (auto [index, launch] : llvm::enumerate(launches)) {
        LaunchPlace here = findPlace(launch);
        if (index > 0 && (here.site != place.site ||
                          here.siteArgument != place.siteArgument)) {
          launch.emitOpError("launches a kernel of another collective");
          return signalPassFailure();
        }
        place = here;
      }
      KernelLowering lowering(kernel, converter, strings, assertions, place);
      if (failed(lowering.run()))
        return signalPassFailure();
      for (gpu::LaunchFuncOp launch : launches)
        if (failed(passContext(module, launch, place.siteArgument,
                               lowering.reachesPeers())))
          return signalPassFailure();
    }
    for (auto gpuModule : module.getOps<gpu::GPUModuleOp>())
      if (failed(addDeviceLibrary(gpuModule)))
        return signalPassFailure();
    if (!kernels.empty())
      module->setAttr(kDeviceStringsAttrName,
                      ArrayAttr::get(&getContext(), strings.get()));
    if (!assertions.get().empty())
      module->setAttr(kSitesAttrName,
                      ArrayAttr::get(&getContext(), assertions.get()));
  }

private:
  /// Ops that would be lowered to loads and stores of the CPU.
  static LogicalResult checkHostCode(ModuleOp module) {
    bool isFine = true;
    module.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<gpu::GPUModuleOp>(op))
        return WalkResult::skip();
      if (isa<symm::PutOp, symm::NextEpochOp, symm::SignalOp, symm::WaitOp,
              symm::BarrierOp>(op)) {
        op->emitOpError("expects to be in a kernel: host code does not reach "
                        "the memory of a GPU");
        isFine = false;
      }
      return WalkResult::advance();
    });
    return success(isFine);
  }

  /// The runtime may launch fewer blocks than asked for, but never more.
  static void boundGrid(gpu::GPUFuncOp kernel) {
    std::optional<ArrayRef<int32_t>> size = kernel.getKnownGridSize();
    if (!size)
      return;
    Builder builder(kernel.getContext());
    kernel.walk([&](Operation *op) {
      llvm::TypeSwitch<Operation *>(op).Case<gpu::BlockIdOp, gpu::GridDimOp>(
          [&](auto place) {
            auto dimension = static_cast<unsigned>(place.getDimension());
            place.setUpperBoundAttr(builder.getIndexAttr((*size)[dimension]));
          });
    });
    kernel.setKnownGridSizeAttr({});
  }

  /// Hands `launch` what its kernel's last parameters stand for.
  static LogicalResult passContext(ModuleOp module, gpu::LaunchFuncOp launch,
                                   Value site, bool reachesPeers) {
    OpBuilder builder(launch);
    Location loc = launch.getLoc();
    Type i64 = builder.getI64Type();
    Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
    Value rank = arith::IndexCastOp::create(builder, loc, i64,
                                            symm::RankOp::create(builder, loc));
    SmallVector<Value> values = {rank};
    SmallVector<std::pair<StringRef, Type>> functions;
    // Without peers there need not be a workspace.
    if (reachesPeers)
      functions.push_back({"moert_symm_stride", i64});
    else
      values.push_back(arith::ConstantIntOp::create(builder, loc, 0, 64));
    functions.push_back({"moert_timeout_ns", i64});
    functions.push_back({"moert_device_status", pointer});
    for (auto [name, type] : functions) {
      FailureOr<LLVM::LLVMFuncOp> function =
          LLVM::lookupOrCreateFn(builder, module, name, {}, type);
      if (failed(function))
        return failure();
      values.push_back(
          LLVM::CallOp::create(builder, loc, *function, ValueRange())
              .getResult());
    }
    if (site)
      values.push_back(site);
    launch.getKernelOperandsMutable().append(values);
    return success();
  }
};

} // namespace
