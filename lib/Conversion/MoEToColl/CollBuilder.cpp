//===- CollBuilder.cpp - exchanges of messages ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollBuilder.h"

using namespace mlir;
using namespace mlir::moe;

CollBuilder::Table CollBuilder::table() {
  return {scratch({numRanks()}, getI32Type()),
          scratch({numRanks()}, getI32Type())};
}

std::pair<Value, Value> CollBuilder::clip(Value first, Value count,
                                          std::optional<int64_t> capacity) {
  if (!capacity)
    return {first, count};
  Value end = index(*capacity);
  first = arith::MinUIOp::create(*this, first, end);
  return {first, arith::MinUIOp::create(*this, count, sub(end, first))};
}

/// Row `row` of `memref` as a memref of its own.
static Value createRow(ImplicitLocOpBuilder &b, Value memref, Value row) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(type.getRank(), b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = {b.getIndexAttr(1)};
  offsets.front() = row;
  for (int64_t extent : type.getShape().drop_front())
    sizes.push_back(b.getIndexAttr(extent));
  return memref::SubViewOp::create(b, memref, offsets, sizes, strides);
}

void CollBuilder::copyRow(Value source, Value from, Value target, Value to) {
  auto type = cast<MemRefType>(source.getType());
  if (ShapedType::getNumElements(type.getShape().drop_front()) == 0)
    return;
  if (type.getRank() == 1)
    return store(load(source, {from}), target, {to});
  memref::CopyOp::create(*this, createRow(*this, source, from),
                         createRow(*this, target, to));
}
