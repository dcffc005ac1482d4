//===- ValueOrigins.cpp - Where the contents of tensors come from ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ValueOrigins.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::moe;

ValueOrigins::ValueOrigins(Operation *root) {
  root->walk([&](func::FuncOp function) {
    if (function.isPrivate() && !function.isExternal())
      calls[function];
  });
  SymbolTableCollection symbols;
  llvm::DenseSet<Operation *> open;
  root->walk([&](Operation *op) {
    auto call = dyn_cast<CallOpInterface>(op);
    Operation *callee = call ? call.resolveCallableInTable(&symbols) : nullptr;
    if (auto it = calls.find(callee); it != calls.end())
      return it->second.push_back(call);
    // A function that is named elsewhere may be called from anywhere.
    if (auto constant = dyn_cast<func::ConstantOp>(op))
      open.insert(
          symbols.lookupNearestSymbolFrom(constant, constant.getValueAttr()));
  });
  for (Operation *function : open)
    calls.erase(function);
}

Value ValueOrigins::getOrigin(Value value) {
  auto [entry, isNew] = known.try_emplace(value);
  if (!isNew)
    return entry->second;
  llvm::SetVector<Value> reached;
  reached.insert(value);
  SmallVector<Value> leaves;
  for (size_t i = 0; i < reached.size(); ++i) {
    SmallVector<Value> sources;
    appendSources(reached[i], sources);
    if (sources.empty())
      leaves.push_back(reached[i]);
    reached.insert(sources.begin(), sources.end());
  }
  Value origin = leaves.size() == 1 ? leaves.front() : Value();
  known[value] = origin;
  return origin;
}

/// Appends the values that `value` may be; none when it is made where it
/// stands.
void ValueOrigins::appendSources(Value value, SmallVectorImpl<Value> &sources) {
  if (auto result = dyn_cast<OpResult>(value))
    return appendSourcesOfResult(result, sources);
  return appendSourcesOfArgument(cast<BlockArgument>(value), sources);
}

void ValueOrigins::appendSourcesOfResult(OpResult result,
                                         SmallVectorImpl<Value> &sources) {
  unsigned index = result.getResultNumber();
  Operation *op = result.getOwner();
  if (auto cast = dyn_cast<tensor::CastOp>(op))
    return sources.push_back(cast.getSource());
  if (auto select = dyn_cast<arith::SelectOp>(op)) {
    sources.push_back(select.getTrueValue());
    return sources.push_back(select.getFalseValue());
  }
  if (auto branch = dyn_cast<scf::IfOp>(op)) {
    sources.push_back(branch.thenYield().getOperand(index));
    return sources.push_back(branch.elseYield().getOperand(index));
  }
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    sources.push_back(loop.getInitArgs()[index]);
    return sources.push_back(loop.getYieldedValues()[index]);
  }
  if (auto loop = dyn_cast<scf::WhileOp>(op))
    return sources.push_back(loop.getConditionOp().getArgs()[index]);
  auto call = dyn_cast<CallOpInterface>(op);
  auto function =
      call ? dyn_cast_if_present<func::FuncOp>(call.resolveCallable())
           : nullptr;
  if (!function)
    return;
  function.walk([&](func::ReturnOp end) {
    if (end->getParentOp() == function)
      sources.push_back(end.getOperand(index));
  });
}

void ValueOrigins::appendSourcesOfArgument(BlockArgument argument,
                                           SmallVectorImpl<Value> &sources) {
  unsigned index = argument.getArgNumber();
  Block *block = argument.getOwner();
  Operation *op = block->getParentOp();
  if (!block->isEntryBlock()) {
    for (auto it = block->pred_begin(), end = block->pred_end(); it != end;
         ++it) {
      auto branch = dyn_cast<BranchOpInterface>((*it)->getTerminator());
      Value given =
          branch ? branch.getSuccessorOperands(it.getSuccessorIndex())[index]
                 : Value();
      // One that a terminator makes has no other source.
      sources.push_back(given ? given : argument);
    }
    return;
  }
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    if (OpOperand *init = loop.getTiedLoopInit(argument)) {
      sources.push_back(init->get());
      sources.push_back(loop.getTiedLoopYieldedValue(argument)->get());
    }
    return;
  }
  if (auto loop = dyn_cast<scf::WhileOp>(op)) {
    if (block != loop.getBeforeBody())
      return sources.push_back(loop.getConditionOp().getArgs()[index]);
    sources.push_back(loop.getInits()[index]);
    return sources.push_back(loop.getYieldOp().getOperand(index));
  }
  auto it = calls.find(op);
  if (it == calls.end())
    return;
  for (CallOpInterface call : it->second)
    sources.push_back(call.getArgOperands()[index]);
}
