//===- AssignOffsets.cpp - Layout of the symmetric workspace --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/Transforms/Passes.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
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
};

} // namespace

/// Bytes of a buffer, rounded up to the alignment of buffers; fails when they
/// do not fit 63 bits.
static FailureOr<int64_t> getBufferSize(AllocOp alloc,
                                        const DataLayout &layout) {
  MemRefType type = alloc.getType();
  std::optional<int64_t> size =
      layout.getTypeSize(type.getElementType()).getFixedValue();
  for (int64_t extent : type.getShape())
    size = size ? llvm::checkedMul(*size, extent) : size;
  if (size)
    size = llvm::checkedAdd(*size, kBufferAlignment - 1);
  if (!size)
    return alloc.emitOpError("expects a buffer of less than 2^63 bytes (")
           << type << ")";
  return *size / kBufferAlignment * kBufferAlignment;
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

static Operation *getFunction(Operation *op) {
  return op->getParentOfType<FunctionOpInterface>();
}

/// Whether the lifetimes of two buffers overlap, as far as this pass can tell.
/// A lifetime that ends in the block where it begins covers the ops between the
/// two, with everything nested in them.
static bool mayOverlap(const Buffer &a, const Buffer &b) {
  if (!a.end || !b.end || getFunction(a.alloc) != getFunction(b.alloc))
    return true;
  Block *blockA = a.alloc->getBlock();
  Block *blockB = b.alloc->getBlock();
  if (Operation *inA = blockA->findAncestorOpInBlock(*b.alloc)) {
    if (blockA == blockB)
      return a.alloc->isBeforeInBlock(b.end) && b.alloc->isBeforeInBlock(a.end);
    return a.alloc->isBeforeInBlock(inA) && inA->isBeforeInBlock(a.end);
  }
  if (Operation *inB = blockB->findAncestorOpInBlock(*a.alloc))
    return b.alloc->isBeforeInBlock(inB) && inB->isBeforeInBlock(b.end);
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

/// Gives `buffer` the lowest offset from `start` on where it does not meet a
/// buffer of `placed` that may be alive at the same time.
static void place(Buffer &buffer, int64_t start,
                  ArrayRef<const Buffer *> placed) {
  SmallVector<const Buffer *> conflicts;
  for (const Buffer *other : placed)
    if (mayOverlap(buffer, *other))
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

    SmallVector<Buffer> persistent, temporary;
    WalkResult walked = module.walk([&](AllocOp alloc) {
      FailureOr<int64_t> size = getBufferSize(alloc, layout);
      if (failed(size))
        return WalkResult::interrupt();
      if (alloc.getPersistent())
        persistent.push_back({alloc, FreeOp(), *size});
      else
        temporary.push_back({alloc, findEnd(alloc), *size});
      return WalkResult::advance();
    });
    if (walked.wasInterrupted())
      return signalPassFailure();
    numBuffers += persistent.size() + temporary.size();

    int64_t start = 0;
    for (Buffer &buffer : persistent) {
      buffer.offset = start;
      if (!advance(start, buffer))
        return signalPassFailure();
    }

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
    SmallVector<const Buffer *> placed;
    for (Buffer *buffer : order) {
      place(*buffer, start, placed);
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
};

} // namespace
