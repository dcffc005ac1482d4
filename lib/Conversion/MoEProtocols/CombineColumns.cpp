//===- CombineColumns.cpp - sums of the columns of rows -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CombineSum.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

SmallVector<Value>
CombineSum::forColumns(int64_t length, int64_t team, int64_t held, Value member,
                       llvm::function_ref<void(ValueRange)> body) {
  int64_t step = team * kSubgroupSize * vectorLength();
  Value lane = b.add(b.mul(member, b.index(kSubgroupSize)), b.lane());
  Value first = b.mul(lane, b.index(vectorLength()));
  auto columnsFrom = [&](Value column, int64_t count) {
    SmallVector<Value> columns;
    for (int64_t i = 0; i < count; ++i)
      columns.push_back(b.add(column, b.index(i * step)));
    return columns;
  };
  int64_t whole = length / (step * held) * (step * held);
  if (whole == step * held)
    body(columnsFrom(first, held));
  else if (whole > 0)
    b.step(first, b.index(whole), b.index(step * held),
           [&](Value column) { body(columnsFrom(column, held)); });
  return columnsFrom(b.add(first, b.index(whole)),
                     llvm::divideCeil(length - whole, step));
}

/// Lanes past the end of a row repeat its last column: rows are found by
/// exchange among all lanes. So the last round is like the others, and shares
/// their code, where it has as many columns.
void CombineSum::forAllColumns(int64_t held, Value member,
                               llvm::function_ref<void(ValueRange)> body) {
  int64_t step = sharers * kSubgroupSize * vectorLength();
  if (isOneRound)
    return forColumnsInTurn(held, member, body);
  int64_t length = static_cast<int64_t>(llvm::alignTo(rowLength, step));
  auto inside = [&](ValueRange columns, bool mayPassEnd) {
    SmallVector<Value> inside(columns);
    if (mayPassEnd && length != rowLength)
      inside.back() = arith::MinUIOp::create(
          b, inside.back(), b.index(rowLength - vectorLength()));
    body(inside);
  };
  bool hasRest = length % (step * held) != 0;
  SmallVector<Value> rest =
      forColumns(length, sharers, held, member,
                 [&](ValueRange columns) { inside(columns, !hasRest); });
  if (hasRest)
    inside(rest, /*mayPassEnd=*/true);
}

/// The same with one round in the code: registers are just enough beside what
/// is waited for and signalled. The last round repeats columns of the one
/// before it, so that it has as many.
void CombineSum::forColumnsInTurn(int64_t held, Value member,
                                  llvm::function_ref<void(ValueRange)> body) {
  int64_t step = sharers * kSubgroupSize * vectorLength();
  int64_t vectors = numVectors();
  Value lane = b.add(b.mul(member, b.index(kSubgroupSize)), b.lane());
  Value first = b.mul(lane, b.index(vectorLength()));
  auto round = [&](Value first) {
    SmallVector<Value> columns;
    for (int64_t i = 0; i < held; ++i)
      columns.push_back(b.add(first, b.index(i * step)));
    if (vectors * step != rowLength)
      columns.back() = arith::MinUIOp::create(
          b, columns.back(), b.index(rowLength - vectorLength()));
    body(columns);
  };
  if (held == vectors)
    return round(first);
  auto loop = scf::ForOp::create(b, b.index(0), b.index(vectors * step),
                                 b.index(held * step));
  b.keepInTurn(loop);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value base = loop.getInductionVar();
  if (vectors % held != 0)
    base = arith::MinUIOp::create(b, base, b.index((vectors - held) * step));
  round(b.add(first, base));
}

Value CombineSum::zerosOf(Type type) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(type), b.getZeroAttr(type)));
}

/// Adding to -0 leaves every value as it is, and so the first row starts the
/// sum.
Value CombineSum::emptySum() {
  TypedAttr start = isa<FloatType>(element)
                        ? TypedAttr(b.getF32FloatAttr(-0.0f))
                        : cast<TypedAttr>(b.getZeroAttr(element));
  return arith::ConstantOp::create(b, DenseElementsAttr::get(sumType(), start));
}

Value CombineSum::termOf(Value columns, Value weight) {
  if (isa<FloatType>(terms.from) && !terms.from.isF32())
    columns = arith::ExtFOp::create(b, sumType(), columns);
  if (weight)
    columns = arith::MulFOp::create(
        b, columns, vector::BroadcastOp::create(b, sumType(), weight));
  return columns;
}

Value CombineSum::addColumns(Value sum, Value columns, Value weight) {
  Value term = termOf(columns, weight);
  if (!isa<FloatType>(terms.from))
    return b.add(sum, term);
  return arith::AddFOp::create(b, sum, term);
}

Value CombineSum::findBegins(Value peer, Value isRow) {
  Value before =
      arith::MaxSIOp::create(b, b.sub(b.lane(), b.index(1)), b.index(0));
  Value isOther = b.cmp(Pred::ne, peer, b.shuffle(peer, before));
  return b.ballot(b.both(isRow, isOther));
}

CombineSum::RankSums CombineSum::emptyRankSums(size_t count) {
  SmallVector<Value> empty(count, emptySum());
  return {empty, empty};
}

/// In a branch, which all lanes take or none: tokens have fewer ranks than
/// rows.
void CombineSum::addRow(RankSums &sums, Value begins, Value i,
                        ValueRange terms) {
  Value bit = arith::AndIOp::create(
      b, arith::ShRUIOp::create(b, begins, b.fromIndex(i, b.getI32Type())),
      b.i32(1));
  SmallVector<Type> types(2 * terms.size(), sumType());
  auto branch = scf::IfOp::create(b, types, b.cmp(Pred::ne, bit, b.i32(0)),
                                  /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> after = endRanks(sums);
    llvm::append_range(after, terms);
    scf::YieldOp::create(b, after);
    b.setInsertionPointToStart(branch.elseBlock());
    after = sums.totals;
    for (auto [partial, term] : llvm::zip(sums.partials, terms))
      after.push_back(arith::AddFOp::create(b, partial, term));
    scf::YieldOp::create(b, after);
  }
  ValueRange results = branch.getResults();
  sums.totals = llvm::to_vector(results.take_front(terms.size()));
  sums.partials = llvm::to_vector(results.take_back(terms.size()));
}

SmallVector<Value> CombineSum::endRanks(const RankSums &sums) {
  SmallVector<Value> totals;
  for (auto [total, partial] : llvm::zip(sums.totals, sums.partials)) {
    Value added = partial;
    if (roundsPartials())
      added = arith::ExtFOp::create(b, sumType(), toColumns(partial));
    totals.push_back(arith::AddFOp::create(b, total, added));
  }
  return totals;
}

Value CombineSum::toColumns(Value sum) {
  if (!isa<FloatType>(terms.to) || terms.to.isF32())
    return sum;
  return arith::TruncFOp::create(b, vectorOf(terms.to), sum);
}

Value CombineSum::convertBits(Value bits) {
  if (terms.from == terms.to)
    return bits;
  Type from = b.getIntegerType(terms.from.getIntOrFloatBitWidth());
  Type to = b.getIntegerType(terms.to.getIntOrFloatBitWidth());
  bits = arith::BitcastOp::create(b, vectorOf(from), bits);
  if (bytesOf(terms.from) < bytesOf(terms.to))
    bits = arith::ExtUIOp::create(b, vectorOf(to), bits);
  else
    bits = arith::TruncIOp::create(b, vectorOf(to), bits);
  return arith::BitcastOp::create(b, vectorOf(terms.to), bits);
}

void CombineSum::storeColumns(Value token, Value column, Value columns) {
  vector::StoreOp::create(b, columns, out, ValueRange{token, column},
                          /*nontemporal=*/false,
                          llvm::MaybeAlign(std::min<int64_t>(
                              vectorLength() * bytesOf(terms.to), 16)));
}
