//===- DispatchTables.cpp - numbers that the threads of a block share -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchTables.h"

using namespace mlir;
using namespace mlir::moe;

Value DispatchTables::scratchTable(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> perBlock = {b.maxBlocks()};
  llvm::append_range(perBlock, shape);
  return b.scratch(perBlock, b.getI32Type());
}

DispatchTables::Table DispatchTables::makeTable(ArrayRef<int64_t> shape,
                                                Value scratch) {
  if (scratch)
    return {scratch, b.block()};
  return {b.workgroup(shape, b.getI32Type()), Value()};
}

SmallVector<Value> DispatchTables::indicesOf(const Table &table,
                                             ValueRange entry) {
  SmallVector<Value> indices;
  if (table.block)
    indices.push_back(table.block);
  llvm::append_range(indices, entry);
  return indices;
}

Value DispatchTables::loadEntry(const Table &table, ValueRange entry) {
  return b.loadIndex(table.buffer, indicesOf(table, entry));
}

void DispatchTables::storeEntry(Value value, const Table &table,
                                ValueRange entry) {
  b.storeIndex(value, table.buffer, indicesOf(table, entry));
}

Value DispatchTables::sumOverExpertsInLanes(
    Value rank, llvm::function_ref<Value(Value)> count) {
  Value zero = b.index(0);
  auto [first, last] = expertsOf(rank);
  SmallVector<Value> sum = b.reduceInLanes(
      first, last, zero,
      [&](Value expert, Value isExpert,
          ValueRange carried) -> SmallVector<Value> {
        return {b.add(carried[0], b.select(isExpert, count(expert), zero))};
      });
  return b.sumOverLanes(sum[0]);
}
