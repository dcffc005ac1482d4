//===- SymmToLLVMPass.cpp - symm dialect to LLVM dialect ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/Passes.h"

#include "RuntimeCalls.h"
#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTSYMMTOLLVMPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Lists the collectives of `module` by site. Sites number the collectives from
/// zero on; one that code was duplicated from may appear more than once. What
/// the module lists already follows.
static FailureOr<ArrayAttr> collectSites(ModuleOp module) {
  Builder builder(module.getContext());
  SmallVector<symm::CollectiveBeginOp> begins;
  module.walk([&](symm::CollectiveBeginOp op) { begins.push_back(op); });
  SmallVector<Attribute> sites;
  for (symm::CollectiveBeginOp op : begins) {
    uint64_t site = op.getSite();
    if (site >= begins.size())
      return op.emitOpError("expects 'site' (")
             << site << ") to be less than the number of collectives ("
             << begins.size() << ")";
    if (site >= sites.size())
      sites.resize(site + 1, builder.getDictionaryAttr({}));
    NamedAttrList description;
    description.set("op", op.getOpAttr());
    description.set("location",
                    builder.getStringAttr(describeLocation(op.getLoc())));
    if (Attribute attributes = op->getAttr(kSiteAttributesName))
      description.set("attributes", attributes);
    sites[site] = description.getDictionary(module.getContext());
  }
  if (auto assertions = module->getAttrOfType<ArrayAttr>(kSitesAttrName))
    llvm::append_range(sites, assertions);
  return builder.getArrayAttr(sites);
}

/// Removes `#symm.space` from all types, and casts that thereby do nothing.
static void dropSymmetricSpace(ModuleOp module) {
  AttrTypeReplacer replacer;
  replacer.addReplacement([](MemRefType type) -> std::optional<Type> {
    if (!isa_and_present<symm::SpaceAttr>(type.getMemorySpace()))
      return std::nullopt;
    return MemRefType::get(type.getShape(), type.getElementType(),
                           type.getLayout());
  });
  replacer.addReplacement([](UnrankedMemRefType type) -> std::optional<Type> {
    if (!isa_and_present<symm::SpaceAttr>(type.getMemorySpace()))
      return std::nullopt;
    return UnrankedMemRefType::get(type.getElementType(), Attribute());
  });
  replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  module.walk([](memref::MemorySpaceCastOp cast) {
    if (cast.getSource().getType() != cast.getType())
      return;
    cast.replaceAllUsesWith(cast.getSource());
    cast.erase();
  });
}

/// Removes what passes of `symm` note on functions and their arguments.
static void dropMarks(ModuleOp module) {
  module.walk([](FunctionOpInterface function) {
    function->removeAttr(symm::kOutlinedAttrName);
    function->removeAttr(symm::kOwnWorkspaceAttrName);
    for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
      for (NamedAttribute attr : llvm::to_vector(function.getArgAttrs(i)))
        if (isa_and_present<symm::SymmDialect>(attr.getNameDialect()))
          function.removeArgAttr(i, attr.getName());
  });
}

namespace {

struct ConvertSymmToLLVMPass
    : public moe::impl::ConvertSymmToLLVMPassBase<ConvertSymmToLLVMPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    WalkResult offsets = module.walk([](symm::AllocOp op) {
      if (op.getOffset())
        return WalkResult::advance();
      op.emitOpError("expects an 'offset'; run symm-assign-offsets first");
      return WalkResult::interrupt();
    });
    if (offsets.wasInterrupted() || failed(checkRuntimeNames(module)))
      return signalPassFailure();
    FailureOr<ArrayAttr> sites = collectSites(module);
    if (failed(sites))
      return signalPassFailure();
    module->setAttr(kSitesAttrName, *sites);

    LLVMTypeConverter converter(&getContext());
    addSymmToLLVMTypeConversions(converter);
    RewritePatternSet patterns(&getContext());
    populateSymmToLLVMConversionPatterns(converter, patterns);
    populateAssertToRuntimePatterns(patterns);
    ConversionTarget target(getContext());
    target.addIllegalDialect<symm::SymmDialect>();
    target.addIllegalOp<cf::AssertOp>();
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    if (failed(applyPartialConversion(module, target, std::move(patterns))))
      return signalPassFailure();
    dropSymmetricSpace(module);
    dropMarks(module);
  }
};

} // namespace
