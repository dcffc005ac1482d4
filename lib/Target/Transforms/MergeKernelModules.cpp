//===- MergeKernelModules.cpp - One module of kernels ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEMERGEKERNELMODULESPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

static constexpr llvm::StringLiteral kModuleName = "moe_kernels";

namespace {

struct MoEMergeKernelModulesPass
    : public moe::impl::MoEMergeKernelModulesPassBase<
          MoEMergeKernelModulesPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<gpu::GPUModuleOp> sources(module.getOps<gpu::GPUModuleOp>());
    if (sources.empty())
      return;
    SymbolTable symbols(module);
    OpBuilder builder(sources.front());
    auto target =
        gpu::GPUModuleOp::create(builder, module.getLoc(), kModuleName);
    SymbolTable kernels(target);

    // Symbols by their old names, as launches know them.
    llvm::DenseMap<std::pair<StringAttr, StringAttr>, StringAttr> renamed;
    for (gpu::GPUModuleOp source : sources) {
      StringAttr moduleName = source.getNameAttr();
      for (Operation &op : llvm::make_early_inc_range(*source.getBody())) {
        StringAttr name = SymbolTable::getSymbolName(&op);
        // Each kernel in a module of its own has that module's name, which no
        // other has.
        bool isKernel = isa<gpu::GPUFuncOp>(op);
        if (isKernel && llvm::hasSingleElement(source.getOps<gpu::GPUFuncOp>()))
          SymbolTable::setSymbolName(&op, moduleName);
        else if (kernels.lookup(name)) {
          op.emitOpError("has the name of something in another GPU module");
          return signalPassFailure();
        }
        op.moveBefore(target.getBody(), target.getBody()->end());
        renamed[{moduleName, name}] = kernels.insert(&op);
      }
    }
    module.walk([&](gpu::LaunchFuncOp launch) {
      StringAttr name = renamed.lookup(
          {launch.getKernelModuleName(), launch.getKernelName()});
      if (name)
        launch.setKernelAttr(SymbolRefAttr::get(target.getNameAttr(),
                                                FlatSymbolRefAttr::get(name)));
    });
    for (gpu::GPUModuleOp source : sources)
      source.erase();
    symbols.insert(target);
  }
};

} // namespace
