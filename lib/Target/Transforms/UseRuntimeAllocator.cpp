//===- UseRuntimeAllocator.cpp - Allocate with the runtime ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEUSERUNTIMEALLOCATORPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Alignment, in bytes, that no allocation goes below: a cache line.
static constexpr int64_t kMinAlignment = 64;

namespace {

struct MoEUseRuntimeAllocatorPass
    : public moe::impl::MoEUseRuntimeAllocatorPassBase<
          MoEUseRuntimeAllocatorPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    OpBuilder builder(&getContext());
    Type i64 = builder.getI64Type();
    Type ptr = LLVM::LLVMPointerType::get(&getContext());

    SmallVector<LLVM::CallOp> allocs, alignedAllocs, frees;
    module.walk([&](LLVM::CallOp call) {
      StringRef callee = call.getCallee().value_or("");
      if (callee == "_mlir_memref_to_llvm_alloc")
        allocs.push_back(call);
      else if (callee == "_mlir_memref_to_llvm_aligned_alloc")
        alignedAllocs.push_back(call);
      else if (callee == "_mlir_memref_to_llvm_free")
        frees.push_back(call);
    });

    if (!allocs.empty() || !alignedAllocs.empty()) {
      FailureOr<LLVM::LLVMFuncOp> alloc = LLVM::lookupOrCreateFn(
          builder, module, "moert_alloc", {i64, i64}, ptr);
      if (failed(alloc))
        return signalPassFailure();
      // Fresh memory: no other pointer leads to it.
      alloc->setResultAttr(0, LLVM::LLVMDialect::getNoAliasAttrName(),
                           builder.getUnitAttr());
      for (LLVM::CallOp call : allocs)
        replaceAlloc(builder, call, *alloc, call.getOperand(0), Value());
      for (LLVM::CallOp call : alignedAllocs)
        replaceAlloc(builder, call, *alloc, call.getOperand(1),
                     call.getOperand(0));
    }
    if (!frees.empty()) {
      FailureOr<LLVM::LLVMFuncOp> free =
          LLVM::lookupOrCreateFn(builder, module, "moert_free", {ptr},
                                 LLVM::LLVMVoidType::get(&getContext()));
      if (failed(free))
        return signalPassFailure();
      for (LLVM::CallOp call : frees) {
        builder.setInsertionPoint(call);
        LLVM::CallOp::create(builder, call.getLoc(), *free, call.getOperand(0));
        call.erase();
      }
    }
    for (StringRef name :
         {"_mlir_memref_to_llvm_alloc", "_mlir_memref_to_llvm_aligned_alloc",
          "_mlir_memref_to_llvm_free"})
      if (Operation *unused = module.lookupSymbol(name))
        if (SymbolTable::symbolKnownUseEmpty(unused, module))
          unused->erase();
  }

private:
  static void replaceAlloc(OpBuilder &builder, LLVM::CallOp call,
                           LLVM::LLVMFuncOp alloc, Value bytes,
                           Value alignment) {
    builder.setInsertionPoint(call);
    llvm::APInt value;
    if (!alignment || (matchPattern(alignment, m_ConstantInt(&value)) &&
                       value.slt(kMinAlignment)))
      alignment =
          LLVM::ConstantOp::create(builder, call.getLoc(), builder.getI64Type(),
                                   builder.getI64IntegerAttr(kMinAlignment));
    auto replacement = LLVM::CallOp::create(builder, call.getLoc(), alloc,
                                            ValueRange{bytes, alignment});
    call.replaceAllUsesWith(replacement);
    call.erase();
  }
};

} // namespace
