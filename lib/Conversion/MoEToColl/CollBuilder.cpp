//===- CollBuilder.cpp - exchanges of messages ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollBuilder.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

std::optional<int64_t> CollBuilder::pairRows(int64_t most) const {
  if (!schedule.isPadded)
    return std::nullopt;
  // Tables are i32; what does not fit is found when it comes.
  most = std::min(most, std::numeric_limits<int32_t>::max() / numRanks());
  return schedule.pairCapacity ? std::min(schedule.pairCapacity, most) : most;
}

Value CollBuilder::allGatherCounts(Value counts) {
  auto type = cast<MemRefType>(counts.getType());
  Value all = scratch({numRanks(), type.getDimSize(1)}, type.getElementType());
  coll::AllGatherOp::create(*this, counts, all);
  return all;
}

Value CollBuilder::allToAll(Value send) {
  auto type = cast<MemRefType>(send.getType());
  Value recv = scratch(type.getShape(), type.getElementType());
  coll::AllToAllOp::create(*this, send, recv);
  return recv;
}

void CollBuilder::exchange(ArrayRef<Rows> rows) {
  coll::ExchangeOp::create(*this, [&](OpBuilder &body) {
    for (const Rows &pair : rows)
      coll::RowsOp::create(body, getLoc(), pair.send, pair.from.starts,
                           pair.from.counts, pair.recv, pair.to.starts,
                           pair.to.counts);
  });
}

CollBuilder::Table CollBuilder::table() {
  return {scratch({numRanks()}, getI32Type()),
          scratch({numRanks()}, getI32Type())};
}

Value CollBuilder::rowsLike(Value memref, Value numRows) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> shape = llvm::to_vector(type.getShape());
  shape.front() = ShapedType::kDynamic;
  return scratch(shape, type.getElementType(), numRows);
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
