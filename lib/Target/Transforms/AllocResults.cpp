//===- AllocResults.cpp - Memory of results from the runtime --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEALLOCRESULTSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Allocations that are results
//===----------------------------------------------------------------------===//

/// The memref that `value` is another type of, with the same contents.
static Value stripCasts(Value value) {
  while (auto cast = value.getDefiningOp<memref::CastOp>())
    value = cast.getSource();
  return value;
}

/// Whether the buffer of `alloc`, or a view of it, is freed.
static bool isFreed(memref::AllocOp alloc) {
  SmallVector<Value> worklist = {alloc.getResult()};
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    for (Operation *user : value.getUsers()) {
      if (isa<memref::DeallocOp>(user))
        return true;
      auto view = dyn_cast<ViewLikeOpInterface>(user);
      if (view && view.getViewSource() == value)
        worklist.push_back(view.getViewDest());
    }
  }
  return false;
}

/// results_s1: why the caller's memory cannot be that of operand `index` of
/// `end` from the beginning; empty when it can. On success `alloc` is the
/// allocation that it replaces, or null where the buffer asks for it already.
static std::string findObstacle(func::ReturnOp end, unsigned index,
                                memref::AllocOp &alloc) {
  Value value = stripCasts(end.getOperand(index));
  if (auto space = value.getDefiningOp<memref::MemorySpaceCastOp>())
    if (auto symmetric = space.getSource().getDefiningOp<symm::AllocOp>())
      if (symmetric.getResultIndex() == index)
        return "";
  if (auto result = value.getDefiningOp<symm::AllocResultOp>())
    return result.getIndex() == index
               ? ""
               : "it is result " + std::to_string(result.getIndex()) + ", too";
  if (isa<BlockArgument>(value) &&
      cast<BlockArgument>(value).getOwner()->isEntryBlock())
    return "it is an argument";
  alloc = value.getDefiningOp<memref::AllocOp>();
  if (!alloc)
    return "it is no allocation of the entry, but a value of several origins, "
           "a constant or a view";
  if (alloc->getBlock() != end->getBlock())
    return "it is not allocated in the block that returns it";
  if (!alloc.getType().getLayout().isIdentity() ||
      alloc.getType().getMemorySpace())
    return "it is not dense in the default memory space";
  if (isFreed(alloc))
    return "it is freed";
  return {};
}

//===----------------------------------------------------------------------===//
// Extents that are known before a call
//===----------------------------------------------------------------------===//

/// What extent `dim` of `value` is, in the form of `kResultExtentsAttrName`.
static Attribute describeExtent(Value value, int64_t dim) {
  Builder builder(value.getContext());
  while (true) {
    auto type = dyn_cast<MemRefType>(value.getType());
    if (!type || dim >= type.getRank())
      return builder.getUnitAttr();
    if (!type.isDynamicDim(dim))
      return builder.getI64IntegerAttr(type.getDimSize(dim));
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      if (!argument.getOwner()->isEntryBlock() ||
          !isa<func::FuncOp>(argument.getOwner()->getParentOp()))
        return builder.getUnitAttr();
      return builder.getDenseI64ArrayAttr({argument.getArgNumber(), dim});
    }
    Operation *op = value.getDefiningOp();
    if (isa<memref::CastOp, memref::MemorySpaceCastOp>(op)) {
      value = op->getOperand(0);
      continue;
    }
    Value size;
    if (auto alloc = dyn_cast<memref::AllocOp>(op))
      size = alloc.getDynamicSizes()[type.getDynamicDimIndex(dim)];
    else if (auto alloc = dyn_cast<symm::AllocResultOp>(op))
      size = alloc.getSizes()[type.getDynamicDimIndex(dim)];
    if (!size)
      return builder.getUnitAttr();
    if (std::optional<int64_t> constant = getConstantIntValue(size))
      return builder.getI64IntegerAttr(*constant);
    auto source = size.getDefiningOp<memref::DimOp>();
    std::optional<int64_t> position =
        source ? source.getConstantIndex() : std::nullopt;
    if (!position)
      return builder.getUnitAttr();
    value = source.getSource();
    dim = *position;
  }
}

/// That of all results of `entry`; null where no caller could learn anything.
static ArrayAttr describeExtents(FunctionType entry, func::ReturnOp end) {
  if (end.getNumOperands() != entry.getNumResults())
    return {};
  Builder builder(end.getContext());
  SmallVector<Attribute> results;
  bool isKnown = false;
  for (auto [value, type] :
       llvm::zip_equal(end.getOperands(), entry.getResults())) {
    SmallVector<Attribute> extents;
    for (auto [dim, extent] :
         llvm::enumerate(cast<ShapedType>(type).getShape())) {
      Attribute known = builder.getUnitAttr();
      if (ShapedType::isDynamic(extent))
        known = describeExtent(value, dim);
      isKnown |= !isa<UnitAttr>(known);
      extents.push_back(known);
    }
    results.push_back(builder.getArrayAttr(extents));
  }
  return isKnown ? builder.getArrayAttr(results) : ArrayAttr();
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct MoEAllocResultsPass
    : public moe::impl::MoEAllocResultsPassBase<MoEAllocResultsPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTableCollection symbols;
    SymbolUserMap users(symbols, module);
    for (auto func : module.getOps<func::FuncOp>()) {
      auto type = func->getAttrOfType<TypeAttr>(kEntryAttrName);
      if (!type || func.isExternal())
        continue;
      SmallVector<func::ReturnOp> ends(func.getOps<func::ReturnOp>());
      std::string obstacle;
      if (!users.useEmpty(func))
        obstacle = "another function of the module calls the entry";
      else if (ends.size() != 1)
        obstacle = "there is more than one 'func.return'";
      if (!obstacle.empty()) {
        for (unsigned i = 0, e = func.getNumResults(); i < e; ++i)
          noteCopy(func, i, obstacle);
        continue;
      }
      func::ReturnOp end = ends.front();
      if (ArrayAttr extents =
              describeExtents(cast<FunctionType>(type.getValue()), end))
        func->setAttr(kResultExtentsAttrName, extents);
      for (unsigned i = 0, e = end.getNumOperands(); i < e; ++i)
        place(func, end, i);
    }
  }

private:
  void place(func::FuncOp func, func::ReturnOp end, unsigned index) {
    memref::AllocOp alloc;
    std::string obstacle = findObstacle(end, index, alloc);
    if (!obstacle.empty())
      return noteCopy(func, index, obstacle);
    ++numInPlace;
    if (!alloc)
      return;
    OpBuilder builder(alloc);
    auto memory =
        symm::AllocResultOp::create(builder, alloc.getLoc(), alloc.getType(),
                                    index, alloc.getDynamicSizes());
    alloc.replaceAllUsesWith(memory.getBuffer());
    alloc.erase();
  }

  void noteCopy(func::FuncOp func, unsigned index,
                const std::string &obstacle) {
    ++numCopied;
    auto opts = remark::RemarkOpts::name("result-memory")
                    .category("moe-alloc-results")
                    .function(func.getName());
    remark::missed(func.getLoc(), opts)
        << ("result " + Twine(index) +
            " is copied to memory that a caller gives: " + obstacle)
               .str();
  }
};

} // namespace
