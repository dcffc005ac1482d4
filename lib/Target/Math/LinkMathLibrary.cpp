//===- LinkMathLibrary.cpp - math functions into generated code -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Math/Math.h"

#include "mlir/IR/Operation.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;

static constexpr unsigned char kLibrary[] = {
#include "MathLibrary.inc"
};

/// Replaces what the definition of LLVM's IR leaves to a target. A conversion
/// to an integer out of range has no result, which libclc chooses to ignore
/// afterwards, but may have used as an index before; and a product and a sum
/// may be fused or not.
static void fixResults(llvm::Function &function) {
  for (llvm::Instruction &inst :
       llvm::make_early_inc_range(llvm::instructions(function))) {
    llvm::IRBuilder<> builder(&inst);
    llvm::Value *fixed = nullptr;
    if (isa<llvm::FPToSIInst, llvm::FPToUIInst>(inst)) {
      auto intrinsic = isa<llvm::FPToSIInst>(inst)
                           ? llvm::Intrinsic::fptosi_sat
                           : llvm::Intrinsic::fptoui_sat;
      llvm::Value *from = inst.getOperand(0);
      fixed = builder.CreateIntrinsic(
          intrinsic, {inst.getType(), from->getType()}, {from});
    } else if (auto *call = dyn_cast<llvm::IntrinsicInst>(&inst)) {
      if (call->getIntrinsicID() == llvm::Intrinsic::fmuladd)
        fixed = builder.CreateIntrinsic(llvm::Intrinsic::fma, {inst.getType()},
                                        {call->getArgOperand(0),
                                         call->getArgOperand(1),
                                         call->getArgOperand(2)});
    }
    if (!fixed)
      continue;
    inst.replaceAllUsesWith(fixed);
    inst.eraseFromParent();
  }
}

/// Makes of the library, which was compiled for another target, one of the
/// target of `code`.
static void retarget(llvm::Module &library, const llvm::Module &code) {
  library.setTargetTriple(code.getTargetTriple());
  library.setDataLayout(code.getDataLayout());
  // Notes of the compilers that made it.
  for (llvm::NamedMDNode &node :
       llvm::make_early_inc_range(library.named_metadata()))
    library.eraseNamedMetadata(&node);
  for (llvm::Function &function : library) {
    for (StringRef attr : {"target-cpu", "target-features", "frame-pointer"})
      function.removeFnAttr(attr);
    if (!function.isDeclaration())
      fixResults(function);
  }
}

/// Gives the functions of `code` that have the attribute their names; false
/// when there are none.
static bool nameFunctions(llvm::Module &code, StringRef attribute,
                          StringRef prefix) {
  bool hasSome = false;
  for (llvm::Function &function : llvm::make_early_inc_range(code)) {
    if (!function.hasFnAttribute(attribute))
      continue;
    hasSome = true;
    std::string name =
        (prefix + function.getFnAttribute(attribute).getValueAsString()).str();
    function.removeFnAttr(attribute);
    if (llvm::Function *other = code.getFunction(name)) {
      function.replaceAllUsesWith(other);
      function.eraseFromParent();
    } else {
      function.setName(name);
    }
  }
  return hasSome;
}

LogicalResult moe::linkMathLibrary(Operation *op, llvm::Module &code) {
  nameFunctions(code, kLibMFunctionAttrName, "");
  if (!nameFunctions(code, kMathFunctionAttrName, "moe_math_"))
    return success();

  StringRef bytes(reinterpret_cast<const char *>(kLibrary), sizeof(kLibrary));
  llvm::Expected<std::unique_ptr<llvm::Module>> library =
      llvm::parseBitcodeFile(llvm::MemoryBufferRef(bytes, "moe_math"),
                             code.getContext());
  if (!library)
    return op->emitError("cannot read the math library: ")
           << llvm::toString(library.takeError());
  retarget(**library, code);
  auto internalize = [](llvm::Module &module, const llvm::StringSet<> &linked) {
    for (const auto &name : linked)
      if (llvm::GlobalValue *value = module.getNamedValue(name.getKey()))
        value->setLinkage(llvm::GlobalValue::InternalLinkage);
  };
  if (llvm::Linker::linkModules(code, std::move(*library),
                                llvm::Linker::LinkOnlyNeeded, internalize))
    return op->emitError("cannot link the math library");
  return success();
}
