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

Value KernelMessages::allGatherCounts(Value counts) {
  auto type = cast<MemRefType>(counts.getType());
  Value all = scratch({numRanks(), type.getDimSize(1)}, type.getElementType());
  coll::AllGatherOp::create(*this, counts, all);
  return all;
}

Value KernelMessages::allToAll(Value send) {
  auto type = cast<MemRefType>(send.getType());
  Value recv = scratch(type.getShape(), type.getElementType());
  coll::AllToAllOp::create(*this, send, recv);
  return recv;
}

Value KernelMessages::rowsLike(Value memref, Value numRows) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> shape = llvm::to_vector(type.getShape());
  shape.front() = ShapedType::kDynamic;
  return scratch(shape, type.getElementType(), numRows);
}

//===----------------------------------------------------------------------===//
// KernelTables
//===----------------------------------------------------------------------===//

KernelTables::KernelTables(KernelMessages &b)
    : b(b), device(b.scratch({4, b.numRanks()}, b.getI32Type())),
      sizes(b.scratch({2}, b.getI32Type())) {}

void KernelTables::set(Field field, Value rank, Value value) {
  b.storeIndex(value, device, {b.index(field), rank});
}

void KernelTables::setNumRows(Field start, Value value) {
  b.storeIndex(value, sizes, {b.index(start / 2)});
}

void KernelTables::read() {
  host = coll::ReadOp::create(b, device.getType(), device);
}

Value KernelTables::numRows(Field start) {
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
  Value sendStarts = row(SendStart), sendCounts = row(SendCount);
  Value recvStarts = row(RecvStart), recvCounts = row(RecvCount);
  coll::ExchangeOp::create(b, [&](OpBuilder &body) {
    for (auto [send, recv] : buffers)
      coll::RowsOp::create(body, b.getLoc(), send, sendStarts, sendCounts, recv,
                           recvStarts, recvCounts);
  });
}
