//===- DispatchPad.cpp - rows that no token is sent to, by a kernel -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchTables.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

/// Subgroups of all blocks share the rows out. They are of this rank alone, and
/// so nobody is to be told of them: the next kernel of this rank sees them.
void DispatchTables::pad(Value areFine) {
  b.ifThen(areFine, [&] {
    if (op.isExpertMajor())
      return padGroups();
    if (!isSlab())
      return padRows(loadEntry(needed, b.me()), b.index(capacity));
    b.loop(b.numRanks(), [&](Value sender) {
      Value bound = b.index(op.getTokenBound());
      Value slab = b.mul(sender, bound);
      Value rows = b.loadIndex(slabRows, {sender});
      padRows(b.add(slab, rows), b.add(slab, bound));
    });
  });
}

void DispatchTables::padRows(Value begin, Value end) {
  auto [first, last] = padding->inBuffers(begin, end);
  KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
  b.step(b.add(first, own.item), last, own.begun,
         [&](Value row) { padRow(row); });
}

/// Gaps between groups are shorter than the alignment, and no more of one than
/// fits is of interest: an item is a row of a gap of the largest size.
void DispatchTables::padGroups() {
  Value zero = b.index(0), one = b.index(1);
  Value first, last;
  std::tie(first, last) = expertsOf(b.me());
  auto endOf = [&](Value expert) {
    return b.add(loadEntry(groups, expert), loadEntry(groupRows, expert));
  };
  if (int64_t alignment = op.getAlignment(); alignment > 1) {
    Value longest = b.index(std::min(alignment, capacity));
    Value gaps = b.sub(b.sub(last, first), one);
    KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
    b.step(own.item, b.mul(gaps, longest), own.begun, [&](Value item) {
      Value gap = arith::DivUIOp::create(b, item, longest);
      Value place = arith::RemUIOp::create(b, item, longest);
      Value expert = b.add(first, gap);
      Value row = b.add(endOf(expert), place);
      Value next = loadEntry(groups, b.add(expert, one));
      next = padding->inBuffers(zero, next).second;
      b.ifThen(b.cmp(Pred::slt, row, next), [&] { padRow(row); });
    });
  }
  // Behind the last group; all rows of a rank without experts.
  Value hasGroup = b.cmp(Pred::ult, first, last);
  Value expert = b.select(hasGroup, b.sub(last, one), zero);
  padRows(b.select(hasGroup, endOf(expert), zero), b.index(capacity));
}

/// The lanes of a subgroup store 16 bytes each, where rows allow that, as those
/// that put rows do. What goes with a row is one element per lane at most.
void DispatchTables::padRow(Value row) {
  for (auto [buffer, element, isPut] : padding->getFields()) {
    auto type = cast<MemRefType>(buffer.getType());
    if (type.getRank() == 1) {
      b.onFirstLane([&, buffer = buffer, element = element] {
        b.store(arith::ConstantOp::create(b, element), buffer, {row});
      });
      continue;
    }
    int64_t bytes = type.getElementTypeBitWidth() / 8;
    int64_t length = 1;
    if (isPut && type.getLayout().isIdentity())
      length = getVectorLength(getRowBytes(type), bytes);
    auto vectorType = VectorType::get({length}, type.getElementType());
    Value values = arith::ConstantOp::create(
        b, DenseElementsAttr::get(vectorType, Attribute(element)));
    b.step(b.mul(b.lane(), b.index(length)), b.index(type.getDimSize(1)),
           b.index(kSubgroupSize * length), [&, buffer = buffer](Value column) {
             vector::StoreOp::create(b, values, buffer, ValueRange{row, column},
                                     /*nontemporal=*/false,
                                     llvm::MaybeAlign(length * bytes));
           });
  }
}
