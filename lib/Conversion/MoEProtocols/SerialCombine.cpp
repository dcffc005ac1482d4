//===- SerialCombine.cpp - a combine as the work of one thread ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SerialCombine.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

void SerialCombine::allocate() {
  int64_t numSlots = op.getNumSlots();
  listKey = b.scratch({numSlots}, b.getI32Type());
  listRow = b.scratch({numSlots}, b.getI32Type());
  sum = b.scratch({rowLength}, sumElement());
  if (addsByRank())
    partial = b.scratch({rowLength}, sumElement());
}

void SerialCombine::reduceTokens() {
  int64_t numSlots = op.getNumSlots();
  allocate();
  b.loop(numTokens, [&](Value token) {
    if (op.returnsRows()) // combine_s7
      return b.loop(numSlots, [&](Value slot) {
        reduceListed(token, listRowOfSlot(token, slot), {token, slot});
      });
    Value numRows =
        op.isExpertMajor() ? listRowsByExpert(token) : listRows(token);
    reduceListed(token, numRows, token);
  });
}

void SerialCombine::reduceListed(Value token, Value numRows, ValueRange place) {
  if (op.getWeights())
    return addRows(token, numRows, place);
  // combine_s4
  Value isSingle = b.cmp(Pred::eq, numRows, b.index(1));
  auto branch = scf::IfOp::create(b, isSingle, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  copyRow(token, place);
  b.setInsertionPointToStart(branch.elseBlock());
  addRows(token, numRows, place);
}

Value SerialCombine::checkedRow(Value token, Value slot) {
  Value row = b.loadIndex(op.getSendRow(), {token, slot});
  b.check(b.both(b.cmp(Pred::sge, row, b.index(-1)),
                 b.cmp(Pred::slt, row, b.index(capacity))),
          symm::Failure::invalid_count, "send_row",
          {b.index(capacity - 1), row, Value(), b.index(-1), token, slot});
  return row;
}

/// Lists the rows of `token` by ascending rank; returns their number.
Value SerialCombine::listRows(Value token) {
  Value count =
      b.reduce(b.index(0), b.index(b.numRanks()), b.index(0),
               [&](Value peer, ValueRange carried) -> SmallVector<Value> {
                 Value row = sendRowAt(token, peer);
                 Value isRow = b.cmp(Pred::sge, row, b.index(0));
                 b.ifThen(isRow, [&] {
                   b.storeIndex(peer, listKey, {carried[0]});
                   b.storeIndex(row, listRow, {carried[0]});
                 });
                 Value next = b.add(carried[0], b.index(1));
                 return {b.select(isRow, next, carried[0])};
               })[0];
  if (b.numRanks() > kMaxTopK)
    b.check(b.cmp(Pred::ule, count, b.index(kMaxTopK)),
            symm::Failure::invalid_count, "number of rows",
            {b.index(kMaxTopK), count, Value(), Value(), token});
  return count;
}

/// That is by ascending rank, too. Selection: each step takes the smallest
/// expert above the last one taken.
Value SerialCombine::listRowsByExpert(Value token) {
  int64_t topK = cast<MemRefType>(op.getSendRow().getType()).getDimSize(1);
  Value numExperts = b.index(placement.numExperts);

  SmallVector<Value> result =
      b.reduce(b.index(0), b.index(topK), {b.index(-1), b.index(0)},
               [&](Value, ValueRange carried) -> SmallVector<Value> {
                 Value last = carried[0], count = carried[1];
                 SmallVector<Value> best = b.reduce(
                     b.index(0), b.index(topK), {numExperts, b.index(-1)},
                     [&](Value k, ValueRange best) -> SmallVector<Value> {
                       Value row = sendRowAt(token, k);
                       Value expert = b.loadIndex(op.getTopk(), {token, k});
                       Value isRow = b.cmp(Pred::sge, row, b.index(0));
                       Value isBetter =
                           b.both(b.both(isRow, b.cmp(Pred::sgt, expert, last)),
                                  b.cmp(Pred::slt, expert, best[0]));
                       return {b.select(isBetter, expert, best[0]),
                               b.select(isBetter, row, best[1])};
                     });
                 Value found = b.cmp(Pred::slt, best[0], numExperts);
                 b.ifThen(found, [&] {
                   b.storeIndex(best[0], listKey, {count});
                   b.storeIndex(best[1], listRow, {count});
                 });
                 return {b.select(found, best[0], last),
                         b.select(found, b.add(count, b.index(1)), count)};
               });
  return result[1];
}

/// Lists the row of a slot; returns 1, or 0 when the slot has none.
Value SerialCombine::listRowOfSlot(Value token, Value slot) {
  Value zero = b.index(0), key = slot;
  Value row = sendRowAt(token, slot);
  Value isRow = b.cmp(Pred::sge, row, zero);
  if (op.isExpertMajor()) {
    key = b.loadIndex(op.getTopk(), {token, slot});
    isRow = b.both(isRow, b.cmp(Pred::ult, key, b.index(placement.numExperts)));
  }
  b.ifThen(isRow, [&] {
    b.storeIndex(key, listKey, {zero});
    b.storeIndex(row, listRow, {zero});
  });
  return b.select(isRow, b.index(1), zero);
}

SerialCombine::ListedRow SerialCombine::listed(Value i) {
  ListedRow entry;
  entry.key = b.loadIndex(listKey, {i});
  entry.peer = op.isExpertMajor() ? b.owner(entry.key, placement) : entry.key;
  entry.row = b.loadIndex(listRow, {i});
  return entry;
}

Value SerialCombine::loadTerm(const Row &row, Value column) {
  Value value = b.load(row.data, {row.row, column});
  if (isa<FloatType>(element) && !element.isF32())
    value = arith::ExtFOp::create(b, b.getF32Type(), value);
  if (row.weight)
    value = arith::MulFOp::create(b, value, row.weight);
  return value;
}

void SerialCombine::storeOut(Value value, ValueRange place, Value column) {
  SmallVector<Value> indices = llvm::to_vector(place);
  indices.push_back(column);
  b.store(value, op.getOut(), indices);
}

void SerialCombine::storeSum(Value value, ValueRange place, Value column) {
  if (isa<FloatType>(element) && !element.isF32())
    value = arith::TruncFOp::create(b, element, value);
  storeOut(value, place, column);
}

void SerialCombine::storeZeros(ValueRange place) {
  Value zero =
      arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(element)));
  b.loop(rowLength, [&](Value column) { storeOut(zero, place, column); });
}

/// The bits of the only row.
void SerialCombine::copyRow(Value token, ValueRange place) {
  Row row = rowAt(token, b.index(0));
  b.loop(rowLength, [&](Value column) {
    storeOut(b.load(row.data, {row.row, column}), place, column);
  });
}

Value SerialCombine::addTerms(Value x, Value y) {
  if (isa<FloatType>(element))
    return arith::AddFOp::create(b, x, y);
  return b.add(x, y);
}

Value SerialCombine::loadPartial(Value column) {
  return roundPartial(b.load(partial, {column}));
}

Value SerialCombine::roundPartial(Value value) {
  if (!roundsPartials())
    return value;
  value = arith::TruncFOp::create(b, element, value);
  return arith::ExtFOp::create(b, b.getF32Type(), value);
}

void SerialCombine::addInTurn(Value token, Value numRows) {
  b.loop(b.index(1), numRows, [&](Value i) {
    Row row = rowAt(token, i);
    b.loop(rowLength, [&](Value column) {
      Value term = loadTerm(row, column);
      Value before = b.load(sum, {column});
      b.store(addTerms(before, term), sum, {column});
    });
  });
}

void SerialCombine::addByRank(Value token, Value numRows) {
  b.reduce(b.index(1), numRows, listed(b.index(0)).peer,
           [&](Value i, ValueRange last) -> SmallVector<Value> {
             Row row = rowAt(token, i);
             Value peer = listed(i).peer;
             auto branch = scf::IfOp::create(b, b.cmp(Pred::eq, peer, last[0]),
                                             /*withElseRegion=*/true);
             OpBuilder::InsertionGuard guard(b);
             b.setInsertionPointToStart(branch.thenBlock());
             b.loop(rowLength, [&](Value column) {
               Value term = loadTerm(row, column);
               Value before = b.load(partial, {column});
               b.store(addTerms(before, term), partial, {column});
             });
             b.setInsertionPointToStart(branch.elseBlock());
             b.loop(rowLength, [&](Value column) {
               Value before = b.load(sum, {column});
               b.store(addTerms(before, loadPartial(column)), sum, {column});
               b.store(loadTerm(row, column), partial, {column});
             });
             return {peer};
           });
}

/// The sum of the listed rows, rounded once; zeros when there is none.
void SerialCombine::addRows(Value token, Value numRows, ValueRange place) {
  auto branch = scf::IfOp::create(b, b.cmp(Pred::eq, numRows, b.index(0)),
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  storeZeros(place);

  b.setInsertionPointToStart(branch.elseBlock());
  Row first = rowAt(token, b.index(0));
  b.loop(rowLength, [&](Value column) {
    // Adding to -0 leaves every value as it is, and so the first rank's sum.
    if (partial)
      b.store(arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(-0.0f)),
              sum, {column});
    b.store(loadTerm(first, column), partial ? partial : sum, {column});
  });
  if (partial)
    addByRank(token, numRows);
  else
    addInTurn(token, numRows);
  b.loop(rowLength, [&](Value column) {
    Value value = b.load(sum, {column});
    if (partial)
      value = addTerms(value, loadPartial(column));
    storeSum(value, place, column);
  });
}
