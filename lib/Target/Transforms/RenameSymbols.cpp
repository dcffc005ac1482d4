//===- RenameSymbols.cpp - Names that every target can use ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Target/LLVM/LibraryFunctions.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/JSON.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOERENAMESYMBOLSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Names of kernels and of what is outlined start with those of functions; this
/// keeps them readable.
static constexpr size_t kMaxLength = 96;

static bool isWordCharacter(char c) { return llvm::isAlnum(c) || c == '_'; }

/// Whether passes look functions of this name up, or declare them.
static bool isReserved(StringRef name) {
  // What upstream lowerings call that an artifact does not import in the end.
  static const llvm::StringSet<> others = {"aligned_alloc", "free", "malloc",
                                           "memrefCopy"};
  for (StringRef prefix : {"moe_", "moert_", "symm_", "llvm", "nvvm"})
    if (name.starts_with(prefix))
      return true;
  return others.contains(name) ||
         findFunctionProvider(name) != FunctionProvider::Nobody;
}

/// An identifier of C and of PTX that is nobody else's.
static bool isUsable(StringRef name) {
  return !name.empty() && name.size() <= kMaxLength &&
         llvm::isAlpha(name.front()) && llvm::all_of(name, isWordCharacter) &&
         !isReserved(name);
}

static std::string makeUsable(StringRef name) {
  std::string usable;
  for (char c : name.take_front(kMaxLength - 2))
    usable.push_back(isWordCharacter(c) ? c : '_');
  if (!isUsable(usable))
    usable.insert(0, "f_");
  return usable;
}

namespace {

struct MoERenameSymbolsPass
    : public moe::impl::MoERenameSymbolsPassBase<MoERenameSymbolsPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<Operation *> renamed;
    llvm::StringSet<> taken;
    for (Operation &op : *module.getBody()) {
      StringAttr name = SymbolTable::getSymbolName(&op);
      if (!name)
        continue;
      auto func = dyn_cast<func::FuncOp>(op);
      // A declaration has the name of what it stands for.
      bool isDefined =
          (func && !func.isExternal()) || isa<memref::GlobalOp>(op);
      if (!isDefined || isUsable(name))
        taken.insert(name);
      else
        renamed.push_back(&op);
      if (func && failed(checkText(func)))
        return signalPassFailure();
    }
    if (renamed.empty())
      return markAllAnalysesPreserved();

    SymbolTableCollection tables;
    SymbolUserMap users(tables, module);
    for (Operation *op : renamed) {
      StringAttr name = SymbolTable::getSymbolName(op);
      std::string base = makeUsable(name), unique = base;
      for (unsigned number = 0; !taken.insert(unique).second; ++number)
        unique = base + "_" + std::to_string(number);
      auto usable = StringAttr::get(&getContext(), unique);
      users.replaceAllUsesWith(op, usable);
      SymbolTable::setSymbolName(op, usable);
      if (auto func = dyn_cast<func::FuncOp>(op); func && func.isPublic())
        func->setAttr(kEntryNameAttrName, name);
    }
  }

private:
  /// Names of entries are texts of the manifest and of the C API.
  static LogicalResult checkText(func::FuncOp func) {
    StringRef name = func.getName();
    if (!func.isPublic() || func.isExternal())
      return success();
    if (name.empty())
      return func.emitOpError("expects an entry to have a name");
    if (!name.contains('\0') && llvm::json::isUTF8(name))
      return success();
    return func.emitOpError(
        "expects the name of an entry to be UTF-8 text without a zero byte");
  }
};

} // namespace
