//===- ReportMemory.cpp - Symmetric memory of a module --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/IR/Symm.h"
#include "moe-mlir/Target/Driver/Report.h"
#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/SetVector.h"
#include <map>

using namespace mlir;
using namespace mlir::moe;

/// The buffer that a symmetric memref is, is a view of, or is a peer's copy of.
static symm::AllocOp findBuffer(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto alloc = dyn_cast<symm::AllocOp>(op))
      return alloc;
    auto view = dyn_cast<ViewLikeOpInterface>(op);
    if (!view)
      return {};
    value = view.getViewSource();
  }
  return {};
}

static int64_t getBytes(symm::AllocOp alloc, const DataLayout &layout) {
  MemRefType type = alloc.getType();
  return type.getNumElements() *
         layout.getTypeSize(type.getElementType()).getFixedValue();
}

/// Adds what `root` and the functions it calls allocate.
static void collectBuffers(Operation *root,
                           llvm::SetVector<Operation *> &buffers) {
  llvm::SetVector<Operation *> functions;
  functions.insert(root);
  for (size_t i = 0; i < functions.size(); ++i)
    functions[i]->walk([&](Operation *op) {
      if (isa<symm::AllocOp>(op))
        buffers.insert(op);
      if (auto call = dyn_cast<CallOpInterface>(op))
        if (Operation *callee = call.resolveCallable())
          functions.insert(callee);
    });
}

static EntryReport describeEntry(func::FuncOp func, const DataLayout &layout) {
  EntryReport entry;
  entry.name = func.getName().str();
  entry.hasOwnWorkspace = func->hasAttr(symm::kOwnWorkspaceAttrName);
  llvm::SetVector<Operation *> buffers;
  collectBuffers(func, buffers);
  std::optional<int64_t> first;
  int64_t last = 0;
  for (Operation *buffer : buffers) {
    auto alloc = cast<symm::AllocOp>(buffer);
    int64_t bytes = getBytes(alloc, layout);
    int64_t offset = alloc.getOffset().value_or(0);
    if (alloc.getPersistent()) {
      entry.persistentBytes += bytes;
      continue;
    }
    first = std::min(first.value_or(offset), offset);
    last = std::max(last, offset + bytes);
  }
  entry.temporaryBytes = last - first.value_or(last);
  return entry;
}

void CompileReport::collectSymmetricBytes(ModuleOp module) {
  DataLayout layout(module);
  std::map<CollectiveReport *, llvm::SetVector<Operation *>> buffers;
  forEachCollective(module, [&](CollectiveReport &report, Operation *op) {
    for (Value operand : op->getOperands())
      if (isa<MemRefType>(operand.getType()))
        if (symm::AllocOp alloc = findBuffer(operand))
          buffers[&report].insert(alloc);
    if (auto call = dyn_cast<func::CallOp>(op)) {
      report.function = call.getCallee().str();
      if (Operation *callee = CallOpInterface(call).resolveCallable())
        collectBuffers(callee, buffers[&report]);
    }
  });
  for (auto &[report, ofReport] : buffers)
    for (Operation *buffer : ofReport)
      report->symmetricBytes += getBytes(cast<symm::AllocOp>(buffer), layout);
  for (auto func : module.getOps<func::FuncOp>())
    if (func.isPublic() && !func.isExternal())
      entries.push_back(describeEntry(func, layout));
  module.walk([&](symm::AllocOp alloc) {
    if (alloc.getPersistent())
      persistentBytes += getBytes(alloc, layout);
  });
  if (auto bytes =
          module->getAttrOfType<IntegerAttr>(symm::kWorkspaceBytesAttrName))
    workspaceBytes = bytes.getInt();
  if (auto attr = module->getAttrOfType<IntegerAttr>(kRanksAttrName))
    ranks = attr.getInt();
}
