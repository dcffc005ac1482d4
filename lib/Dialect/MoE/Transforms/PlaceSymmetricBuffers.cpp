//===- PlaceSymmetricBuffers.cpp - buffers of peers -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "CopyReceivedRows.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEPLACESYMMETRICBUFFERSPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The static, contiguous memref type of `type` in symmetric memory.
static MemRefType getSymmetricType(MemRefType type) {
  return MemRefType::get(type.getShape(), type.getElementType(), AffineMap(),
                         symm::SpaceAttr::get(type.getContext()));
}

static bool isStaticAndContiguous(MemRefType type) {
  return type.hasStaticShape() && type.getLayout().isIdentity();
}

//===----------------------------------------------------------------------===//
// Uses of a buffer
//===----------------------------------------------------------------------===//

namespace {
/// How the buffer of an allocation is used, through views as well.
struct BufferUses {
  /// Why not all of its uses are known; empty when they are.
  std::string obstacle;
  SmallVector<memref::DeallocOp> deallocs;
  /// Operands of the terminator of its block that are the buffer itself.
  SmallVector<OpOperand *> returns;
  bool isUsedByCollective = false;
};
} // namespace

static BufferUses collectUses(memref::AllocOp alloc) {
  BufferUses uses;
  if (!isStaticAndContiguous(alloc.getType())) {
    uses.obstacle = "its size is not static";
    return uses;
  }
  SmallVector<Value> worklist = {alloc.getResult()};
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      std::string name = ("'" + user->getName().getStringRef() + "'").str();
      if (auto op = dyn_cast<memref::DeallocOp>(user)) {
        uses.deallocs.push_back(op);
        continue;
      }
      if (auto view = dyn_cast<ViewLikeOpInterface>(user)) {
        if (view.getViewSource() == value)
          worklist.push_back(view.getViewDest());
        continue;
      }
      if (isa<func::ReturnOp>(user) && value == alloc.getResult() &&
          user->getBlock() == alloc->getBlock()) {
        uses.returns.push_back(&use);
        continue;
      }
      if (isa<CollectiveOpInterface>(user))
        uses.isUsedByCollective = true;
      if (user->hasTrait<OpTrait::IsTerminator>() || isa<CallOpInterface>(user))
        uses.obstacle = "it leaves through " + name;
      else if (auto store = dyn_cast<memref::StoreOp>(user);
               store && store.getValueToStore() == value)
        uses.obstacle = "it is stored in another buffer";
      else if (llvm::any_of(user->getResultTypes(),
                            llvm::IsaPred<BaseMemRefType>))
        uses.obstacle = name + " may alias it";
      if (!uses.obstacle.empty())
        return uses;
    }
  }
  return uses;
}

/// Why the buffer of `alloc` cannot become symmetric in place; empty when it
/// can. On success `dealloc` is the op that ends its life.
static std::string findObstacle(memref::AllocOp alloc,
                                memref::DeallocOp &dealloc) {
  BufferUses uses = collectUses(alloc);
  if (!uses.obstacle.empty())
    return uses.obstacle;
  if (!uses.returns.empty())
    return "it leaves through 'func.return'";
  if (uses.deallocs.empty())
    return "it is not freed in the block that allocates it";
  dealloc = uses.deallocs.front();
  if (uses.deallocs.size() > 1 || dealloc->getBlock() != alloc->getBlock())
    return "it is not freed once, in the block that allocates it";
  return {};
}

/// Why the value that `func` returns as a result marked symmetric cannot be
/// returned in place; empty when it can. On success `alloc` is its allocation,
/// or null when it is symmetric already.
static std::string findObstacle(func::FuncOp func, unsigned index,
                                memref::AllocOp &alloc) {
  SmallVector<func::ReturnOp> returns(func.getOps<func::ReturnOp>());
  if (returns.size() != 1)
    return "there is more than one 'func.return'";
  Value value = returns.front().getOperand(index);
  if (auto cast = value.getDefiningOp<memref::MemorySpaceCastOp>())
    if (auto symmetric = cast.getSource().getDefiningOp<symm::AllocOp>())
      return symmetric.getPersistent() ? "" : "it is not persistent";
  alloc = value.getDefiningOp<memref::AllocOp>();
  if (!alloc || alloc->getBlock() != returns.front()->getBlock())
    return "it is not allocated in the block that returns it";
  BufferUses uses = collectUses(alloc);
  if (!uses.obstacle.empty())
    return uses.obstacle;
  if (uses.returns.size() > 1)
    return "it is returned twice";
  if (!uses.deallocs.empty())
    return "it is freed";
  if (uses.isUsedByCollective)
    return {};
  for (Operation *user : alloc->getUsers())
    if (auto copy = dyn_cast<memref::CopyOp>(user))
      if (copy.getTarget() == value)
        return "it is a copy of another value (an argument, a constant, or "
               "another result)";
  return "no moe op uses it";
}

/// Whether `value` is an argument marked symmetric, or all of it in another
/// shape.
static bool isSymmetricArgument(Value value) {
  while (isStaticAndContiguous(cast<MemRefType>(value.getType()))) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto func = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
      return func && argument.getOwner()->isEntryBlock() &&
             func.getArgAttr(argument.getArgNumber(), kSymmetricAttrName);
    }
    // Not `memref.view`, which may begin anywhere, on each rank elsewhere.
    Operation *op = value.getDefiningOp();
    if (!isa_and_present<memref::CastOp, memref::MemorySpaceCastOp,
                         memref::ExpandShapeOp, memref::CollapseShapeOp>(op) ||
        !isa<MemRefType>(op->getOperand(0).getType()))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct MoEPlaceSymmetricBuffersPass
    : public moe::impl::MoEPlaceSymmetricBuffersPassBase<
          MoEPlaceSymmetricBuffersPass> {
  using MoEPlaceSymmetricBuffersPassBase::MoEPlaceSymmetricBuffersPassBase;

  void runOnOperation() override {
    if (failed(checkCalls()))
      return signalPassFailure();
    SmallVector<func::FuncOp> marked;
    WalkResult walked = getOperation()->walk([&](func::FuncOp func) {
      if (!hasMark(func) || func.isExternal())
        return WalkResult::advance();
      marked.push_back(func);
      return failed(placeResults(func)) ? WalkResult::interrupt()
                                        : WalkResult::advance();
    });
    if (walked.wasInterrupted())
      return signalPassFailure();

    SmallVector<CollectiveOpInterface> ops;
    getOperation()->walk([&](CollectiveOpInterface op) {
      if (!op.isTensorForm())
        ops.push_back(op);
    });
    for (CollectiveOpInterface op : ops) {
      SmallVector<OpOperand *> operands;
      op.getSymmetricOperands(operands);
      SmallVector<StagedBuffer> staged;
      for (OpOperand *operand : operands)
        place(op, *operand, staged);
      OpBuilder builder(op);
      builder.setInsertionPointAfter(op);
      copyReceivedRows(op, staged, builder);
      for (const StagedBuffer &out : staged)
        symm::FreeOp::create(builder, op.getLoc(), out.symmetric);
    }
    for (func::FuncOp func : marked)
      removeMarks(func);
  }

  static bool hasMark(func::FuncOp func) {
    for (unsigned i = 0, e = func.getNumArguments(); i < e; ++i)
      if (func.getArgAttr(i, kSymmetricAttrName))
        return true;
    for (unsigned i = 0, e = func.getNumResults(); i < e; ++i)
      if (func.getResultAttr(i, kSymmetricAttrName))
        return true;
    return false;
  }

  static void removeMarks(func::FuncOp func) {
    for (unsigned i = 0, e = func.getNumArguments(); i < e; ++i)
      func.removeArgAttr(i, kSymmetricAttrName);
    for (unsigned i = 0, e = func.getNumResults(); i < e; ++i)
      func.removeResultAttr(i, kSymmetricAttrName);
  }

  /// What is marked is between the artifact and its caller: a call in the
  /// module would pass other memory.
  LogicalResult checkCalls() {
    WalkResult walked = getOperation()->walk([](CallOpInterface call) {
      auto callee = dyn_cast_if_present<func::FuncOp>(call.resolveCallable());
      if (!callee || !hasMark(callee))
        return WalkResult::advance();
      InFlightDiagnostic diag = call->emitOpError("expects a callee without '")
                                << kSymmetricAttrName
                                << "'; only callers of the artifact can "
                                   "provide symmetric memory";
      diag.attachNote(callee.getLoc()) << "the callee is defined here";
      return WalkResult::interrupt();
    });
    return failure(walked.wasInterrupted());
  }

  LogicalResult placeResults(func::FuncOp func) {
    for (unsigned i = 0, e = func.getNumResults(); i < e; ++i) {
      if (!func.getResultAttr(i, kSymmetricAttrName) ||
          isa<TensorType>(func.getResultTypes()[i]))
        continue;
      memref::AllocOp alloc;
      std::string obstacle = findObstacle(func, i, alloc);
      if (!obstacle.empty())
        return func.emitOpError("expects result ")
               << i << ", marked '" << kSymmetricAttrName
               << "', to be a buffer of a moe op that can stay where it is: "
               << obstacle;
      if (alloc)
        makeSymmetric(alloc, /*dealloc=*/{})
            .getDefiningOp<symm::AllocOp>()
            .setResultIndex(i);
    }
    return success();
  }

  /// Gives `operand` symmetric memory. What then has to be copied from there
  /// behind the op is added to `staged`.
  void place(CollectiveOpInterface op, OpOperand &operand,
             SmallVectorImpl<StagedBuffer> &staged) {
    Value buffer = operand.get();
    if (symm::isSymmetric(buffer.getType()))
      return;
    // A buffer that an op before this one, or a result, has made symmetric.
    if (auto cast = buffer.getDefiningOp<memref::MemorySpaceCastOp>()) {
      if (symm::isSymmetric(cast.getSource().getType())) {
        operand.set(cast.getSource());
        ++numInPlace;
        return;
      }
    }
    if (isSymmetricArgument(buffer)) {
      OpBuilder builder(op);
      operand.set(memref::MemorySpaceCastOp::create(
          builder, op.getLoc(),
          getSymmetricType(cast<MemRefType>(buffer.getType())), buffer));
      ++numInPlace;
      return;
    }
    std::string obstacle = "it is not allocated here";
    if (auto alloc = buffer.getDefiningOp<memref::AllocOp>()) {
      memref::DeallocOp dealloc;
      obstacle = findObstacle(alloc, dealloc);
      if (obstacle.empty()) {
        operand.set(makeSymmetric(alloc, dealloc));
        ++numInPlace;
        return;
      }
    }
    stage(op, operand, obstacle, staged);
  }

  /// Replaces an allocation by a symmetric buffer; returns it. Without
  /// `dealloc` no other buffer may share its memory.
  static Value makeSymmetric(memref::AllocOp alloc, memref::DeallocOp dealloc) {
    OpBuilder builder(alloc);
    Location loc = alloc.getLoc();
    Value symmetric = symm::AllocOp::create(
        builder, loc, getSymmetricType(alloc.getType()),
        /*persistent=*/!dealloc, /*offset=*/IntegerAttr());
    Value local = memref::MemorySpaceCastOp::create(builder, loc,
                                                    alloc.getType(), symmetric);
    if (dealloc) {
      builder.setInsertionPoint(dealloc);
      symm::FreeOp::create(builder, dealloc.getLoc(), symmetric);
      dealloc.erase();
    }
    alloc.replaceAllUsesWith(local);
    alloc.erase();
    return symmetric;
  }

  /// Gives `operand` a symmetric buffer of its own. An input is copied there
  /// before the op.
  void stage(CollectiveOpInterface op, OpOperand &operand,
             const std::string &obstacle,
             SmallVectorImpl<StagedBuffer> &staged) {
    ++numCopied;
    bool isOut = operand.getOperandNumber() >= op.getInputs().size();
    auto opts = remark::RemarkOpts::name("symmetric-buffer")
                    .category("moe-place-symmetric-buffers");
    remark::missed(op.getLoc(), opts)
        << ("operand #" + Twine(operand.getOperandNumber()) + " is copied " +
            (isOut ? "from" : "to") + " symmetric memory: " + obstacle)
               .str();

    Value buffer = operand.get();
    OpBuilder builder(op);
    Location loc = op->getLoc();
    Value symmetric = symm::AllocOp::create(
        builder, loc, getSymmetricType(cast<MemRefType>(buffer.getType())),
        /*persistent=*/false, /*offset=*/IntegerAttr());
    operand.set(symmetric);
    if (isOut)
      return staged.push_back({symmetric, buffer});
    memref::CopyOp::create(builder, loc, buffer, symmetric);
    builder.setInsertionPointAfter(op);
    symm::FreeOp::create(builder, loc, symmetric);
  }
};

} // namespace
