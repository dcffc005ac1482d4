//===- KernelMessages.cpp - messages between kernels ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelMessages.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// KernelMessages
//===----------------------------------------------------------------------===//

Value KernelMessages::counters(int64_t count) {
  Value words = scratch({count}, getI64Type());
  fill(words, 0);
  return words;
}

/// The first subgroup does it.
void KernelMessages::layOut(Value count,
                            llvm::function_ref<Value(Value)> rowsOf,
                            llvm::function_ref<void(Value, Value, Value)> emit,
                            llvm::function_ref<void(Value)> emitTotal) {
  ifThen(cmp(Pred::eq, subgroup(), index(0)), [&] {
    Value total = scanInLanes(index(0), count, index(0), rowsOf, emit);
    if (emitTotal)
      onFirstLane([&] { emitTotal(total); });
  });
}

/// The subgroups share the ranks out.
void KernelMessages::layOutPadded(
    llvm::function_ref<std::pair<Value, Value>(Value)> itemsOf,
    llvm::function_ref<Value(Value)> rowsOf,
    llvm::function_ref<void(Value, Value, Value)> emit) {
  forSubgroups(index(0), index(numRanks()), [&](Value rank) {
    auto [first, end] = itemsOf(rank);
    scanInLanes(first, end, mul(rank, index(*pairRows())), rowsOf, emit);
  });
}

//===----------------------------------------------------------------------===//
// KernelTables
//===----------------------------------------------------------------------===//

KernelTables::KernelTables(KernelMessages &b) : b(b) {
  if (b.pairRows())
    return;
  device = b.scratch({4, b.numRanks()}, b.getI32Type());
  sizes = b.scratch({2}, b.getI32Type());
}

void KernelTables::set(Field field, Value rank, Value value) {
  if (device)
    b.storeIndex(value, device, {b.index(field), rank});
}

void KernelTables::setNumRows(Field start, Value value) {
  if (sizes)
    b.storeIndex(value, sizes, {b.index(start / 2)});
}

void KernelTables::read() {
  if (device)
    host = coll::ReadOp::create(b, device.getType(), device);
}

Value KernelTables::numRows(Field start) {
  if (b.pairRows())
    return b.index(b.numPaddedRows());
  return b.loadIndex(sizes, {b.index(start / 2)});
}

/// The tables of `coll.rows` are of one type, wherever they lie.
Value KernelTables::row(Field field) {
  SmallVector<OpFoldResult> offsets = {b.getIndexAttr(field),
                                       b.getIndexAttr(0)};
  SmallVector<OpFoldResult> sizes = {b.getIndexAttr(1),
                                     b.getIndexAttr(b.numRanks())};
  SmallVector<OpFoldResult> strides(2, b.getIndexAttr(1));
  MemRefType type = memref::SubViewOp::inferRankReducedResultType(
      {b.numRanks()}, cast<MemRefType>(host.getType()), offsets, sizes,
      strides);
  Value row = memref::SubViewOp::create(b, type, host, offsets, sizes, strides);
  auto layout = StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, 1);
  return memref::CastOp::create(
      b, MemRefType::get({b.numRanks()}, b.getI32Type(), layout), row);
}

void KernelTables::exchange(ArrayRef<std::pair<Value, Value>> buffers) {
  MessageBuilder::Table from, to;
  if (b.pairRows()) {
    from = to = b.paddedTable();
  } else {
    from = {row(SendStart), row(SendCount)};
    to = {row(RecvStart), row(RecvCount)};
  }
  SmallVector<MessageBuilder::Rows> rows;
  for (auto [send, recv] : buffers)
    rows.push_back({send, from, recv, to});
  b.MessageBuilder::exchange(rows);
}
