//===- OutlineCollectives.cpp - One function for equal ops ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A model has the same few collectives in each of its layers. Equal ops get
/// one protocol, one kernel, and one set of flags, counters and tables of
/// counts: to the protocol it makes no difference whether an op is run again by
/// a loop or by the next layer.
///
/// What differs is handed over: the buffers, and for kernels the number of the
/// op, by which errors name it, and the flags of its first signal. These are
/// its own so that ranks whose ops do not match wait in vain, also in the
/// replay of a graph, where no host compares what they call.
///
//===----------------------------------------------------------------------===//

#include "OutlineCollectives.h"

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::moe;

bool moe::beginsAligned(Value memref) {
  while (Operation *op = memref.getDefiningOp()) {
    if (auto view = dyn_cast<memref::ViewOp>(op)) {
      std::optional<int64_t> shift = getConstantIntValue(view.getByteShift());
      if (!shift || *shift % 16 != 0)
        return false;
    }
    auto view = dyn_cast<ViewLikeOpInterface>(op);
    if (!view || !isa<BaseMemRefType>(view.getViewSource().getType()))
      return true;
    memref = view.getViewSource();
  }
  return true;
}

func::FuncOp moe::getOutlinedFunction(Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  return function && function->hasAttr(symm::kOutlinedAttrName) ? function
                                                                : nullptr;
}

Value moe::getMarkedArgument(func::FuncOp function, StringRef name) {
  for (BlockArgument argument : function.getArguments())
    if (function.getArgAttr(argument.getArgNumber(), name))
      return argument;
  return {};
}

namespace {

/// Ops with equal keys are equal but for their operands: where they are called
/// from (a module, and an entry with a workspace of its own), what they are,
/// and the types of their operands.
using Key = std::tuple<Operation *, Operation *, StringAttr, DictionaryAttr,
                       FunctionType>;

class Outliner {
public:
  Outliner(const SiteNumbers &sites, OutlinedArguments arguments)
      : sites(sites), arguments(arguments) {}

  void outline(ArrayRef<CollectiveOpInterface> ops);

private:
  func::FuncOp createFunction(CollectiveOpInterface op);
  void replaceByCall(CollectiveOpInterface op, func::FuncOp function);
  MemRefType getFlagsType(CollectiveOpInterface op);

  const SiteNumbers &sites;
  OutlinedArguments arguments;
};

} // namespace

static Key getKey(CollectiveOpInterface op) {
  auto function = op->getParentOfType<func::FuncOp>();
  bool isOwn = function->hasAttr(symm::kOwnWorkspaceAttrName);
  auto types =
      FunctionType::get(op->getContext(), op->getOperandTypes(), TypeRange());
  return {op->getParentOfType<ModuleOp>(), isOwn ? function : nullptr,
          op->getName().getIdentifier(), op->getAttrDictionary(), types};
}

void Outliner::outline(ArrayRef<CollectiveOpInterface> ops) {
  func::FuncOp function = createFunction(ops.front());
  for (CollectiveOpInterface op : ops)
    replaceByCall(op, function);
}

MemRefType Outliner::getFlagsType(CollectiveOpInterface op) {
  return MemRefType::get({op.getNumRanks()},
                         IntegerType::get(op->getContext(), 64), AffineMap(),
                         symm::SpaceAttr::get(op->getContext()));
}

func::FuncOp Outliner::createFunction(CollectiveOpInterface op) {
  auto module = op->getParentOfType<ModuleOp>();
  auto around = op->getParentOfType<func::FuncOp>();
  OpBuilder builder(op->getContext());
  Location loc = op.getLoc();

  SmallVector<Type> inputs(op->getOperandTypes());
  if (arguments.site)
    inputs.push_back(builder.getI32Type());
  if (arguments.handshake)
    inputs.push_back(getFlagsType(op));
  std::string name = op->getName().getStringRef().str();
  std::replace(name.begin(), name.end(), '.', '_');
  auto function = func::FuncOp::create(
      builder, loc, name, builder.getFunctionType(inputs, TypeRange()));
  function.setPrivate();
  function->setAttr(symm::kOutlinedAttrName, builder.getUnitAttr());
  if (Attribute own = around->getAttr(symm::kOwnWorkspaceAttrName))
    function->setAttr(symm::kOwnWorkspaceAttrName, own);
  SymbolTable(module).insert(function);

  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  unsigned numOperands = op->getNumOperands();
  IRMapping mapping;
  mapping.map(op->getOperands(), body->getArguments().take_front(numOperands));
  builder.clone(*op, mapping);
  func::ReturnOp::create(builder, loc);
  auto mark = [&, index = numOperands](bool isThere, StringRef name) mutable {
    if (isThere)
      function.setArgAttr(index++, name, builder.getUnitAttr());
  };
  mark(arguments.site, symm::kSiteAttrName);
  mark(arguments.handshake, kHandshakeAttrName);
  return function;
}

void Outliner::replaceByCall(CollectiveOpInterface op, func::FuncOp function) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  int64_t site = sites.lookup(op);
  createCollectiveBegin(builder, op, site);
  SmallVector<Value> operands(op->getOperands());
  if (arguments.site)
    operands.push_back(
        arith::ConstantIntOp::create(builder, loc, builder.getI32Type(), site));
  if (arguments.handshake)
    operands.push_back(symm::AllocOp::create(builder, loc, getFlagsType(op),
                                             /*persistent=*/true,
                                             /*offset=*/IntegerAttr()));
  func::CallOp::create(builder, loc, function, operands);
  symm::CollectiveEndOp::create(builder, loc);
  op.erase();
}

/// "capacity = 8 : i64, num_experts = 4 : i64".
static std::string describeAttributes(Operation *op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::ListSeparator separator;
  for (NamedAttribute attr : op->getAttrDictionary())
    if (!attr.getName().getValue().ends_with("SegmentSizes"))
      os << separator << attr.getName().getValue() << " = " << attr.getValue();
  return text;
}

void moe::createCollectiveBegin(OpBuilder &builder, Operation *op,
                                int64_t site) {
  auto begin = symm::CollectiveBeginOp::create(
      builder, op->getLoc(), op->getName().getStringRef(), site);
  begin->setAttr(kSiteAttributesName,
                 builder.getStringAttr(describeAttributes(op)));
}

void moe::outlineCollectives(ModuleOp module, const SiteNumbers &sites,
                             OutlinedArguments arguments) {
  llvm::MapVector<Key, SmallVector<CollectiveOpInterface>> kinds;
  module.walk([&](CollectiveOpInterface op) {
    if (op->getParentOfType<func::FuncOp>() &&
        llvm::all_of(op->getOperands(), beginsAligned))
      kinds[getKey(op)].push_back(op);
  });
  for (auto &[key, ops] : kinds)
    if (ops.size() > 1)
      Outliner(sites, arguments).outline(ops);
}
