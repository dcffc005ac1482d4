//===- StoreBF16AsIntegers.cpp - bf16 values that are only moved ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOESTOREBF16ASINTEGERSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

static bool holdsBF16(Type type) {
  return type.walk([](BFloat16Type) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

/// Whether `op` does nothing with a bf16 value but move it.
static bool onlyMoves(Operation *op) {
  return isa<LLVM::LoadOp, LLVM::StoreOp, LLVM::BitcastOp, LLVM::SelectOp,
             LLVM::ConstantOp, LLVM::UndefOp, LLVM::PoisonOp, LLVM::ZeroOp,
             LLVM::FreezeOp, LLVM::InsertElementOp, LLVM::ExtractElementOp,
             LLVM::InsertValueOp, LLVM::ExtractValueOp, LLVM::ShuffleVectorOp,
             LLVM::CallOp, LLVM::ReturnOp, LLVM::MaskedLoadOp,
             LLVM::MaskedStoreOp>(op) ||
         op->hasTrait<OpTrait::IsTerminator>();
}

namespace {

struct MoEStoreBF16AsIntegersPass
    : public moe::impl::MoEStoreBF16AsIntegersPassBase<
          MoEStoreBF16AsIntegersPass> {
  void runOnOperation() override {
    WalkResult result = getOperation()->walk([&](Operation *op) {
      if (onlyMoves(op) || (llvm::none_of(op->getOperandTypes(), holdsBF16) &&
                            llvm::none_of(op->getResultTypes(), holdsBF16)))
        return WalkResult::advance();
      op->emitOpError("expects no bf16 operands or results once arithmetic is "
                      "expanded");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return signalPassFailure();

    Type i16 = IntegerType::get(&getContext(), 16);
    AttrTypeReplacer replacer;
    replacer.addReplacement([&](BFloat16Type) { return i16; });
    replacer.addReplacement(
        [&](FloatAttr attr) -> std::optional<std::pair<Attribute, WalkResult>> {
          if (!attr.getType().isBF16())
            return std::nullopt;
          return std::pair<Attribute, WalkResult>(
              IntegerAttr::get(i16, attr.getValue().bitcastToAPInt()),
              WalkResult::skip());
        });
    replacer.addReplacement(
        [&](DenseElementsAttr attr)
            -> std::optional<std::pair<Attribute, WalkResult>> {
          if (!attr.getElementType().isBF16())
            return std::nullopt;
          return std::pair<Attribute, WalkResult>(attr.bitcast(i16),
                                                  WalkResult::skip());
        });
    // What an entry looks like from outside stays as it is.
    getOperation()->walk([&](Operation *op) {
      Attribute entry = op->getDiscardableAttr(moe::kEntryAttrName);
      replacer.replaceElementsIn(op, /*replaceAttrs=*/true,
                                 /*replaceLocs=*/false, /*replaceTypes=*/true);
      if (entry)
        op->setDiscardableAttr(moe::kEntryAttrName, entry);
    });
    getOperation()->walk([](LLVM::BitcastOp cast) {
      if (cast.getArg().getType() != cast.getType())
        return;
      cast.replaceAllUsesWith(cast.getArg());
      cast.erase();
    });
  }
};

} // namespace
