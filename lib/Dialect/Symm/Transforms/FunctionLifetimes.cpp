//===- FunctionLifetimes.cpp - Which functions run together --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FunctionLifetimes.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/CallInterfaces.h"

using namespace mlir;
using namespace mlir::symm;

FunctionLifetimes::FunctionLifetimes(ModuleOp module) {
  module.walk([&](FunctionOpInterface function) {
    indices.try_emplace(function, functions.size());
    Function &added = functions.emplace_back();
    added.op = function;
    added.hasOwnWorkspace = function->hasAttr(kOwnWorkspaceAttrName);
  });
  SymbolTableCollection symbols;
  module.walk([&](CallOpInterface call) {
    Operation *caller = getFunction(call);
    if (!caller)
      return;
    int64_t callee = -1;
    if (Operation *known = call.resolveCallableInTable(&symbols))
      callee = indexOf(known);
    functions[indexOf(caller)].calls.push_back({call, callee});
  });
  for (int64_t root = 0, e = functions.size(); root < e; ++root)
    close(root);
  // What an entry with a workspace of its own calls belongs to it.
  for (Function &function : functions)
    if (function.hasOwnWorkspace)
      for (unsigned callee : function.reached.set_bits())
        functions[callee].hasOwnWorkspace = true;
}

void FunctionLifetimes::close(int64_t root) {
  llvm::BitVector &reached = functions[root].reached;
  reached.resize(functions.size());
  SmallVector<int64_t> worklist = {root};
  while (!worklist.empty()) {
    for (const Call &call : functions[worklist.pop_back_val()].calls) {
      if (call.callee < 0) {
        reached.set();
        return;
      }
      if (reached.test(call.callee))
        continue;
      reached.set(call.callee);
      worklist.push_back(call.callee);
    }
  }
}

int64_t FunctionLifetimes::indexOf(Operation *function) const {
  auto it = indices.find(function);
  return it == indices.end() ? -1 : it->second;
}

bool FunctionLifetimes::reaches(Operation *from, Operation *to) const {
  int64_t index = indexOf(from), target = indexOf(to);
  // Outside of functions anything may happen.
  return index < 0 || target < 0 || functions[index].reached.test(target);
}

SmallVector<Operation *>
FunctionLifetimes::callsThatReach(Operation *from, Operation *to) const {
  SmallVector<Operation *> calls;
  int64_t index = indexOf(from), target = indexOf(to);
  if (index < 0 || target < 0)
    return calls;
  for (const Call &call : functions[index].calls)
    if (call.callee < 0 || call.callee == target ||
        functions[call.callee].reached.test(target))
      calls.push_back(call.op);
  return calls;
}

/// workspace_s1
bool FunctionLifetimes::mayShare(Operation *a, Operation *b) const {
  int64_t indexA = indexOf(a), indexB = indexOf(b);
  return indexA >= 0 && indexB >= 0 && !functions[indexA].hasOwnWorkspace &&
         !functions[indexB].hasOwnWorkspace;
}

std::pair<Operation *, Operation *>
FunctionLifetimes::findRivals(Operation *function) const {
  Operation *own = nullptr, *other = nullptr;
  for (const Function &caller : functions) {
    auto entry = cast<FunctionOpInterface>(caller.op);
    if (!entry.isPublic() || !reaches(entry, function))
      continue;
    bool isOwn = entry->hasAttr(kOwnWorkspaceAttrName);
    (isOwn && !own ? own : other) = entry;
  }
  if (!own || !other)
    return {};
  return {own, other};
}
