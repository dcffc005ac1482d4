//===- KernelMessages.cpp - messages between kernels ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelMessages.h"

#include <limits>

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

KernelTables::KernelTables(KernelMessages &b, bool keepsRows) : b(b) {
  if (!b.pairRows())
    device = b.scratch({keepsRows ? 2 * kNumFields : kNumFields, b.numRanks()},
                       b.getI32Type());
}

void KernelTables::set(Field field, Value rank, Value value) {
  if (device)
    b.storeIndex(value, device, {b.index(firstField + field), rank});
}

Value KernelTables::get(Field field, Value rank) {
  return b.loadIndex(device, {b.index(firstField + field), rank});
}

KernelTables KernelTables::kept() {
  KernelTables tables = *this;
  tables.firstField = kNumFields;
  return tables;
}

void KernelTables::read() {
  if (device)
    host = coll::ReadOp::create(b, device.getType(), device);
}

void KernelTables::copyTo(Value peerRows) {
  SmallVector<OpFoldResult> offsets = {b.getIndexAttr(firstField),
                                       b.getIndexAttr(0)};
  SmallVector<OpFoldResult> sizes = {b.getIndexAttr(kNumFields),
                                     b.getIndexAttr(b.numRanks())};
  SmallVector<OpFoldResult> strides(2, b.getIndexAttr(1));
  Value rows = memref::SubViewOp::create(b, host, offsets, sizes, strides);
  coll::CopyTableOp::create(b, rows, peerRows);
}

Value KernelTables::numRows(Field start, std::optional<int64_t> limit) {
  if (b.pairRows())
    return b.index(b.numPaddedRows());
  Value &end = ends[start / 2];
  if (!end) {
    Value most = b.index(limit.value_or(std::numeric_limits<int32_t>::max()));
    end = coll::TableEndOp::create(b, b.getIndexType(), row(start),
                                   row(Field(start + 1)), most);
  }
  return end;
}

/// The tables of `coll.rows` are of one type, wherever they lie.
Value KernelTables::row(Field field) {
  int64_t place = firstField + field;
  if (isReturn)
    place = (place + kNumFields / 2) % kNumFields;
  SmallVector<OpFoldResult> offsets = {b.getIndexAttr(place),
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
