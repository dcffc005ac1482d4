//===- CombineBulk.cpp - rows that come by bulk copies --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A ring of stages; each holds the same part of all rows of one token. The
/// first subgroup of a block fills them: a stage is full when its bytes are
/// there, and free again when the other subgroups, which add, have read it.
///
//===----------------------------------------------------------------------===//

#include "CombineKernel.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

/// Vectors that a thread adds up at the same time.
static constexpr int64_t kMaxHeld = 2;

int64_t CombineKernel::numParts() {
  if (!allowsBulkCopies(cast<MemRefType>(op.getY().getType())) ||
      b.numSubgroups() < 2)
    return 0;
  for (int64_t parts = 1; parts <= 64; ++parts) {
    int64_t bytes = rowLength / parts * elementBytes();
    if (rowLength % parts == 0 && bytes % 16 == 0 &&
        numStages() * maxRows() * bytes <= kStageBytes)
      return parts;
  }
  return 0;
}

void CombineKernel::reduceTokensInBulk(Value first, Value end) {
  Value zero = b.index(0);
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  int64_t stages = numStages();
  full = b.workgroup({stages}, i64);
  empty = b.workgroup({stages}, i64);
  counts = b.workgroup({stages}, i32);
  if (op.getWeights())
    weights = b.workgroup({stages, maxRows()}, b.getF32Type());
  b.onThread(zero, [&] {
    symm::StageInitOp::create(b, full, /*arrivals=*/1);
    symm::StageInitOp::create(b, empty, /*arrivals=*/b.numSubgroups() - 1);
  });
  b.syncBlock();
  ring = b.stages({stages * maxRows(), partLength()}, element, zero);
  auto role = scf::IfOp::create(b, b.cmp(Pred::eq, b.subgroup(), zero),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(role.thenBlock());
  waitForRows();
  // Other ranks stored the rows.
  symm::BulkFenceOp::create(b);
  bringTokens(first, end);
  b.setInsertionPointToStart(role.elseBlock());
  addTokens(first, end);
}

/// One lane per row fetches it.
void CombineKernel::bringTokens(Value first, Value end) {
  Value zero = b.index(0), one = b.index(1);
  Value depth = b.index(numStages()), rowsOfStage = b.index(maxRows());
  Value length = b.index(partLength());
  b.loop(first, end, [&](Value token) {
    RowList list = listRows(token);
    loadWeights(list);
    Value isRow = b.cmp(Pred::ult, b.lane(), list.count);
    b.loop(numParts(), [&](Value part) {
      Value i = b.add(b.mul(b.sub(token, first), b.index(numParts())), part);
      Value slot = arith::RemUIOp::create(b, i, depth);
      Value round = arith::DivUIOp::create(b, i, depth);
      b.ifThen(b.cmp(Pred::uge, i, depth), [&] {
        Value last = b.sub(round, one);
        symm::StageWaitOp::create(b, empty, slot,
                                  arith::AndIOp::create(b, last, one));
      });
      if (list.weight)
        b.ifThen(isRow,
                 [&] { b.store(list.weight, weights, {slot, b.lane()}); });
      b.syncSubgroup();
      b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
        b.storeIndex(list.count, counts, {slot});
        Value bytes = b.mul(list.count, b.index(partLength() * elementBytes()));
        symm::StageExpectOp::create(b, full, slot, bytes);
      });
      b.syncSubgroup();
      b.ifThen(isRow, [&] {
        Value there = symm::PeerOp::create(b, op.getY(), list.peer);
        symm::FetchOp::create(
            b, there, ValueRange{list.row, b.mul(part, length)}, ring,
            b.add(b.mul(slot, rowsOfStage), b.lane()), full, slot);
      });
    });
  });
}

void CombineKernel::addTokens(Value first, Value end) {
  Value one = b.index(1), depth = b.index(numStages());
  b.loop(first, end, [&](Value token) {
    b.loop(numParts(), [&](Value part) {
      Value i = b.add(b.mul(b.sub(token, first), b.index(numParts())), part);
      Value slot = arith::RemUIOp::create(b, i, depth);
      Value round = arith::DivUIOp::create(b, i, depth);
      symm::StageWaitOp::create(b, full, slot,
                                arith::AndIOp::create(b, round, one));
      addStage(token, part, slot);
      b.syncSubgroup();
      b.ifThen(b.cmp(Pred::eq, b.lane(), b.index(0)),
               [&] { symm::StageArriveOp::create(b, empty, slot); });
    });
  });
}

/// The columns of a stage are spread over all subgroups but the first.
void CombineKernel::addStage(Value token, Value part, Value slot) {
  Value zero = b.index(0);
  int64_t threads = b.launchShape().threads - kSubgroupSize;
  int64_t step = threads * vectorLength();
  Value count = b.loadIndex(counts, {slot});
  Value firstRow = b.mul(slot, b.index(maxRows()));
  auto load = [&](Value row, Value column) -> Value {
    return vector::LoadOp::create(
        b, vectorType(), ring, ValueRange{b.add(firstRow, row), column},
        /*nontemporal=*/false,
        llvm::MaybeAlign(vectorLength() * elementBytes()));
  };
  auto addColumnsFrom = [&](ValueRange columns) {
    SmallVector<Value> sums =
        b.reduce(zero, count, SmallVector<Value>(columns.size(), emptySum()),
                 [&](Value row, ValueRange carried) {
                   SmallVector<Value> loaded, next;
                   for (Value column : columns)
                     loaded.push_back(load(row, column));
                   Value weight;
                   if (weights)
                     weight = b.load(weights, {slot, row});
                   for (auto [sum, vector] : llvm::zip(carried, loaded))
                     next.push_back(addColumns(sum, vector, weight));
                   return next;
                 });
    for (auto [sum, column] : llvm::zip(sums, columns)) {
      // Read again: it is the same memory, and rarely needed.
      Value bits = load(zero, column);
      Value target = b.add(b.mul(part, b.index(partLength())), column);
      storeColumns(token, target, count, sum, bits);
    }
  };
  Value thread = b.sub(b.thread(), b.index(kSubgroupSize));
  Value begin = b.mul(thread, b.index(vectorLength()));
  int64_t held = std::clamp<int64_t>(partLength() / step, 1, kMaxHeld);
  int64_t whole = partLength() / (step * held) * (step * held);
  if (whole > 0)
    b.step(begin, b.index(whole), b.index(step * held), [&](Value column) {
      SmallVector<Value> columns;
      for (int64_t i = 0; i < held; ++i)
        columns.push_back(b.add(column, b.index(i * step)));
      addColumnsFrom(columns);
    });
  if (whole < partLength())
    b.step(b.add(begin, b.index(whole)), b.index(partLength()), b.index(step),
           [&](Value column) { addColumnsFrom(column); });
}
