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

std::pair<Value, Value> DispatchTables::findExpert(Value ids, Value item,
                                                   Value isItem, Value wanted) {
  Value zero = b.index(0);
  Value no = b.integer(b.getI1Type(), 0);
  auto look = scf::IfOp::create(b, TypeRange{b.getI1Type(), b.getIndexType()},
                                isItem, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  SmallVector<Value> found =
      b.reduce(zero, b.index(topK), {no, zero},
               [&](Value k, ValueRange carried) -> SmallVector<Value> {
                 Value expert = b.loadIndex(ids, {item, k});
                 Value isKey = b.cmp(Pred::eq, expert, wanted);
                 return {arith::OrIOp::create(b, carried[0], isKey),
                         b.select(isKey, k, carried[1])};
               });
  scf::YieldOp::create(b, found);
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, ValueRange{no, zero});
  return {look.getResult(0), look.getResult(1)};
}

Value DispatchTables::numberInLanes(
    Value first, Value last, Value init,
    llvm::function_ref<std::pair<Value, Value>(Value)> find,
    llvm::function_ref<void(Value, Value, Value)> emit) {
  auto items = scf::ForOp::create(b, first, last, b.index(kSubgroupSize),
                                  ValueRange{init});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(items.getBody());
  Value running = items.getRegionIterArg(0);
  Value item = b.add(items.getInductionVar(), b.lane());
  auto [has, slot] = find(item);
  Value mask = b.ballot(has);
  Value number = b.add(running, b.countBits(b.bitsBelow(mask)));
  b.ifThen(has, [&, slot = slot] { emit(item, slot, number); });
  scf::YieldOp::create(b, b.add(running, b.countBits(mask)));
  return items.getResult(0);
}
