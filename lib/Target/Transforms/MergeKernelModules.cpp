//===- MergeKernelModules.cpp - One module of kernels ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/IR/Symm.h"
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

//===----------------------------------------------------------------------===//
// Equal kernels
//===----------------------------------------------------------------------===//

namespace {

/// Finds kernels that are equal but for their names and places.
class KernelIndex {
public:
  /// A kernel that was added before and is equal to `kernel`; null, and
  /// `kernel` is added, when there is none.
  gpu::GPUFuncOp findOrAdd(gpu::GPUFuncOp kernel);

private:
  static DictionaryAttr getAttributes(gpu::GPUFuncOp kernel);
  static llvm::hash_code hash(gpu::GPUFuncOp kernel);

  llvm::DenseMap<size_t, SmallVector<gpu::GPUFuncOp, 1>> kernels;
};

} // namespace

/// Attributes but for the name.
DictionaryAttr KernelIndex::getAttributes(gpu::GPUFuncOp kernel) {
  NamedAttrList attributes(kernel->getAttrDictionary());
  attributes.erase(SymbolTable::getSymbolAttrName());
  return attributes.getDictionary(kernel.getContext());
}

llvm::hash_code KernelIndex::hash(gpu::GPUFuncOp kernel) {
  llvm::hash_code code = llvm::hash_combine(getAttributes(kernel));
  kernel.walk([&](Operation *op) {
    if (op != kernel)
      code = llvm::hash_combine(code, op->getName(), op->getAttrDictionary(),
                                op->getNumOperands());
  });
  return code;
}

gpu::GPUFuncOp KernelIndex::findOrAdd(gpu::GPUFuncOp kernel) {
  SmallVector<gpu::GPUFuncOp, 1> &candidates = kernels[hash(kernel)];
  for (gpu::GPUFuncOp other : candidates)
    if (getAttributes(other) == getAttributes(kernel) &&
        OperationEquivalence::isRegionEquivalentTo(
            &other.getBody(), &kernel.getBody(),
            OperationEquivalence::IgnoreLocations))
      return other;
  candidates.push_back(kernel);
  return {};
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

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
    KernelIndex known;
    for (gpu::GPUModuleOp source : sources) {
      StringAttr moduleName = source.getNameAttr();
      bool isAlone = llvm::hasSingleElement(*source.getBody());
      for (Operation &op : llvm::make_early_inc_range(*source.getBody())) {
        StringAttr name = SymbolTable::getSymbolName(&op);
        // Each kernel in a module of its own has that module's name, which no
        // other has.
        auto kernel = dyn_cast<gpu::GPUFuncOp>(op);
        gpu::GPUFuncOp equal;
        // Where a kernel of an exchange is launched belongs to its code: that
        // is the phase its first errors name.
        if (kernel && isAlone && !symm::holdsSymmOps(kernel))
          equal = known.findOrAdd(kernel);
        if (equal) {
          renamed[{moduleName, name}] = equal.getNameAttr();
          op.erase();
          continue;
        }
        if (kernel && llvm::hasSingleElement(source.getOps<gpu::GPUFuncOp>()))
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
