//===- AssignOffsets.cpp - Layout of the symmetric workspace --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/Transforms/Passes.h"

#include "FunctionLifetimes.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::symm {
#define GEN_PASS_DEF_SYMMASSIGNOFFSETSPASS
#include "moe-mlir/Dialect/Symm/Transforms/Passes.h.inc"
} // namespace mlir::symm

using namespace mlir;
using namespace mlir::symm;

namespace {

/// A buffer of the workspace. `end` is the last `symm.free` in the block of the
/// allocation; null when there is none, and the buffer lives for ever.
struct Buffer {
  AllocOp alloc;
  FreeOp end;
  int64_t size = 0;
  int64_t offset = 0;

  int64_t limit() const { return offset + size; }
  /// Whether `op`, of the same function, runs while the buffer is alive.
  bool isAliveAt(Operation *op) const {
    Operation *here = AllocOp(alloc)->getBlock()->findAncestorOpInBlock(*op);
    return !end || (here && AllocOp(alloc)->isBeforeInBlock(here) &&
                    here->isBeforeInBlock(end));
  }
};

} // namespace

/// Bytes of a buffer, rounded up to its alignment; fails when they do not fit
/// 63 bits.
static FailureOr<int64_t> getBufferSize(AllocOp alloc,
                                        const DataLayout &layout) {
  MemRefType type = alloc.getType();
  std::optional<int64_t> size =
      layout.getTypeSize(type.getElementType()).getFixedValue();
  for (int64_t extent : type.getShape())
    size = size ? llvm::checkedMul(*size, extent) : size;
  if (!size || !llvm::checkedAdd(*size, kBufferAlignment - 1))
    return alloc.emitOpError("expects a buffer of less than 2^63 bytes (")
           << type << ")";
  // A few flags, or a counter: one of each for every op of a large module.
  bool isSmall = alloc.getPersistent() && *size <= kFlagAlignment;
  return llvm::alignTo(*size, isSmall ? kFlagAlignment : kBufferAlignment);
}

static FreeOp findEnd(AllocOp alloc) {
  FreeOp end;
  for (Operation *user : alloc->getUsers())
    if (auto free = dyn_cast<FreeOp>(user))
      if (free->getBlock() == alloc->getBlock() &&
          (!end || end->isBeforeInBlock(free)))
        end = free;
  return end;
}

/// Whether the lifetimes of two buffers of one function overlap, as far as this
/// pass can tell. A lifetime that ends in the block where it begins covers the
/// ops between the two, with everything nested in them.
static bool mayOverlapInFunction(const Buffer &a, const Buffer &b) {
  Block *blockA = AllocOp(a.alloc)->getBlock();
  Block *blockB = AllocOp(b.alloc)->getBlock();
  if (blockA == blockB)
    return AllocOp(a.alloc)->isBeforeInBlock(b.end) &&
           AllocOp(b.alloc)->isBeforeInBlock(a.end);
  if (blockA->findAncestorOpInBlock(*b.alloc))
    return a.isAliveAt(b.alloc);
  if (blockB->findAncestorOpInBlock(*a.alloc))
    return b.isAliveAt(a.alloc);
  // Neither block encloses the other. Below two different ops of one block
  // the lifetimes follow one another; anywhere else take no chances.
  for (Block *block = blockA; block && block->getParentOp();
       block = block->getParentOp()->getBlock()) {
    Operation *ancestorB = block->findAncestorOpInBlock(*b.alloc);
    if (ancestorB)
      return ancestorB == block->findAncestorOpInBlock(*a.alloc);
  }
  return true;
}

/// The same for any two buffers. One of a function that is called is alive
/// during the calls, and not at any other time.
static bool mayOverlap(const Buffer &a, const Buffer &b,
                       const FunctionLifetimes &functions) {
  Operation *functionA = getFunction(a.alloc);
  Operation *functionB = getFunction(b.alloc);
  if (!a.end || !b.end || !functionA || !functionB)
    return true;
  if (functionA == functionB)
    return functions.reaches(functionA, functionA) ||
           mayOverlapInFunction(a, b);
  bool isNested = functions.reaches(functionA, functionB) ||
                  functions.reaches(functionB, functionA);
  if (!isNested)
    return !functions.mayShare(functionA, functionB);
  auto isAlive = [](const Buffer &buffer) {
    return [&](Operation *call) { return buffer.isAliveAt(call); };
  };
  return llvm::any_of(functions.callsThatReach(functionA, functionB),
                      isAlive(a)) ||
         llvm::any_of(functions.callsThatReach(functionB, functionA),
                      isAlive(b));
}

/// Gives `buffer` the lowest offset from `start` on where it does not meet a
/// buffer of `placed` that may be alive at the same time.
static void place(Buffer &buffer, int64_t start,
                  ArrayRef<const Buffer *> placed,
                  const FunctionLifetimes &functions) {
  SmallVector<const Buffer *> conflicts;
  for (const Buffer *other : placed)
    if (mayOverlap(buffer, *other, functions))
      conflicts.push_back(other);
  llvm::sort(conflicts, [](const Buffer *a, const Buffer *b) {
    return a->offset < b->offset;
  });
  buffer.offset = start;
  for (const Buffer *other : conflicts) {
    if (buffer.limit() <= other->offset)
      break;
    buffer.offset = std::max(buffer.offset, other->limit());
  }
}

namespace {

struct SymmAssignOffsetsPass
    : public symm::impl::SymmAssignOffsetsPassBase<SymmAssignOffsetsPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    DataLayout layout(module);

    SmallVector<Buffer> persistent, small, temporary;
    WalkResult walked = module.walk([&](AllocOp alloc) {
      FailureOr<int64_t> size = getBufferSize(alloc, layout);
      if (failed(size))
        return WalkResult::interrupt();
      if (alloc.getPersistent())
        (*size == kFlagAlignment ? small : persistent)
            .push_back({alloc, FreeOp(), *size});
      else
        temporary.push_back({alloc, findEnd(alloc), *size});
      return WalkResult::advance();
    });
    if (walked.wasInterrupted())
      return signalPassFailure();
    // Behind the others they leave no gaps.
    llvm::append_range(persistent, small);
    numBuffers += persistent.size() + temporary.size();

    int64_t start = 0;
    for (Buffer &buffer : persistent) {
      buffer.offset = start;
      if (!advance(start, buffer))
        return signalPassFailure();
    }

    if (!align(start, persistent))
      return signalPassFailure();

    // Large buffers first: small ones then fill the gaps. Ties keep the order
    // of the module, so the result depends on nothing else.
    SmallVector<Buffer *> order;
    for (Buffer &buffer : temporary)
      order.push_back(&buffer);
    llvm::sort(order, [](const Buffer *a, const Buffer *b) {
      // The buffers lie in one vector, in the order of the module.
      return a->size != b->size ? a->size > b->size : a < b;
    });
    int64_t bytes = start;
    FunctionLifetimes functions(module);
    if (failed(checkRivals(functions, temporary)))
      return signalPassFailure();
    SmallVector<const Buffer *> placed;
    for (Buffer *buffer : order) {
      place(*buffer, start, placed, functions);
      placed.push_back(buffer);
      int64_t limit = buffer->offset;
      if (!advance(limit, *buffer))
        return signalPassFailure();
      bytes = std::max(bytes, limit);
    }

    for (ArrayRef<Buffer> buffers : {ArrayRef(persistent), ArrayRef(temporary)})
      for (const Buffer &buffer : buffers)
        AllocOp(buffer.alloc).setOffset(buffer.offset);
    module->setAttr(
        kWorkspaceBytesAttrName,
        IntegerAttr::get(IntegerType::get(&getContext(), 64), bytes));
    workspaceBytes += bytes;
  }

private:
  /// workspace_s1: what two entries call at the same time has its buffers once.
  static LogicalResult checkRivals(const FunctionLifetimes &functions,
                                   ArrayRef<Buffer> buffers) {
    for (const Buffer &buffer : buffers) {
      Operation *function = getFunction(buffer.alloc);
      auto [own, other] = functions.findRivals(function);
      if (!own || own == function)
        continue;
      InFlightDiagnostic diag =
          function->emitOpError("expects one with symmetric buffers not to be "
                                "called by an entry with '")
          << kOwnWorkspaceAttrName << "' and by another one";
      diag.attachNote(own->getLoc()) << "it is called by this entry";
      diag.attachNote(other->getLoc()) << "it is called by this one, too";
      return diag;
    }
    return success();
  }

  /// Moves `offset` past a buffer that starts there.
  static bool advance(int64_t &offset, const Buffer &buffer) {
    std::optional<int64_t> limit = llvm::checkedAdd(offset, buffer.size);
    if (!limit) {
      AllocOp(buffer.alloc)
          .emitOpError("expects a workspace of less than 2^63 bytes");
      return false;
    }
    offset = *limit;
    return true;
  }

  /// Moves `offset`, where `buffers` end, to where others may begin.
  static bool align(int64_t &offset, ArrayRef<Buffer> buffers) {
    int64_t padding =
        llvm::offsetToAlignment(offset, llvm::Align(kBufferAlignment));
    Buffer rest;
    if (!buffers.empty())
      rest = buffers.back();
    rest.size = padding;
    return advance(offset, rest);
  }
};

} // namespace
