//===- CombineLoads.cpp - rows that are loaded from where they lie --------===//
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

/// Vectors of 16 bytes that a lane loads before it adds the first, and f32 sums
/// that it keeps: as many as find registers when 512 threads share a
/// multiprocessor, with elements of two bytes or more. Where tokens have more
/// than two slots, two to four rows are no faster with more than half the
/// loads, and slower where tokens are few.
static constexpr int64_t kMaxLoads = 16;
static constexpr int64_t kMaxLoadsOfSomeRows = 8;
static constexpr int64_t kMaxSums = 64;
/// Rows that are added before the next ones are looked up.
static constexpr int64_t kMaxBatch = 8;
/// In one round: of a subgroup that has waited for words that ask for rows,
/// unless that is all it loads: what it knows beside them takes more registers
/// than it does where rows are pulled. And of one that adds up rows of its own
/// rank as well, in which those count.
static constexpr int64_t kMaxLoadsBehindWaits = 8;
static constexpr int64_t kMaxLoadsBesideOwn = 12;
/// With more threads, or floats of one byte, of which a vector has more.
static constexpr int64_t kMaxLoadsOfFewRegisters = 4;
static constexpr int64_t kMaxBatchOfFewRegisters = 4;

bool CombineSum::hasFewRegisters() {
  bool isWidened = isa<FloatType>(terms.from) && elementBytes() == 1;
  return isWidened || b.launchShape().threads > 512;
}

int64_t CombineSum::batchSize() {
  return std::min(terms.most,
                  hasFewRegisters() ? kMaxBatchOfFewRegisters : kMaxBatch);
}

int64_t CombineSum::numVectors() {
  return llvm::divideCeil(rowLength / vectorLength(), kSubgroupSize * sharers);
}

int64_t CombineSum::numHeld(int64_t rows) {
  LaunchShape shape = b.launchShape();
  int64_t vectorBytes = vectorLength() * elementBytes();
  int64_t perRow = rowLength / vectorLength();
  int64_t own = numOwnVectors();
  // What is put in one round adds up slots, which are not behind links.
  bool isSome = rows > 1 && rows <= 4 && terms.most > 2 && !isOneRound;
  int64_t loads = isSome ? kMaxLoadsOfSomeRows : kMaxLoads;
  if (hasFewRegisters())
    loads = kMaxLoadsOfFewRegisters;
  if (isOneRound) {
    // Vectors of rows that are stored as wider ones take fewer registers.
    if (bytesOf(terms.to) > elementBytes())
      loads *= 2;
    if (own > 0)
      loads = std::min(loads, kMaxLoadsBesideOwn);
    else if (numVectors() * kMaxBatch > loads)
      loads = loads * kMaxLoadsBehindWaits / kMaxLoads;
  }
  int64_t most = loads / (rows + own);
  bool hasTwoSums = terms.areByRank || own > 0;
  if (!storesBits(rows))
    most = std::min(most, kMaxSums / (hasTwoSums ? 2 : 1) / vectorLength());
  // Few tokens do not fill the links in any case, and slots are not behind
  // them.
  int64_t tokenBytes = terms.most * perRow * vectorBytes;
  if (!rowsArrive() && tokenBound() > kCombineBytesInFlight / tokenBytes)
    most = std::min<int64_t>(
        most,
        llvm::divideNearest(kCombineBytesInFlight,
                            shape.blocks * shape.threads * rows * vectorBytes));
  int64_t perLane = numVectors();
  most = std::clamp<int64_t>(most, 1, perLane);
  // The same number in each round, as far as possible.
  return llvm::divideCeil(perLane, llvm::divideCeil(perLane, most));
}

CombineSum::Row CombineSum::rowAt(const RowList &list, Value i) {
  Row row;
  row.isRow = b.cmp(Pred::slt, i, list.count);
  row.row = b.shuffle(list.row, i);
  row.data = rowsOf(b.shuffle(list.peer, i));
  if (list.weight)
    row.weight = b.shuffle(list.weight, i);
  return row;
}

/// The columns of each row. All loads hang on no condition, so that they are in
/// flight together: a load in a branch of its own is waited for at the end of
/// it, where what is loaded is widened. Those of the first row are there when
/// all are, and every sum begins with one of them.
SmallVector<SmallVector<Value>> CombineSum::loadRows(ArrayRef<Row> rows,
                                                     ValueRange columns) {
  int64_t bytes = vectorLength() * elementBytes();
  SmallVector<SmallVector<Value>> loaded;
  SmallVector<Value> others;
  for (const Row &row : rows) {
    SmallVector<Value> vectors;
    for (Value column : columns)
      vectors.push_back(
          capacity == 0 ? zeros()
                        : vector::LoadOp::create(b, vectorType(), row.data,
                                                 ValueRange{row.row, column},
                                                 /*nontemporal=*/false,
                                                 llvm::MaybeAlign(bytes)));
    if (!loaded.empty())
      llvm::append_range(others, vectors);
    loaded.push_back(vectors);
  }
  if (columns.size() + others.size() > 1)
    loaded[0] = llvm::to_vector(ValueRange(
        symm::JoinLoadsOp::create(b, loaded[0], others).getResults()));
  return loaded;
}

SmallVector<Value> CombineSum::addBatch(const RowList &list, Value base,
                                        int64_t size, ValueRange columns,
                                        ValueRange sums, ValueRange own) {
  SmallVector<Row> rows;
  for (int64_t u = 0; u < size; ++u)
    rows.push_back(rowAt(list, b.add(base, b.index(u))));
  SmallVector<SmallVector<Value>> loaded = loadRows(rows, columns);
  if (terms.areByRank)
    return addBatchByRank(list, base, rows, loaded, sums);
  SmallVector<Value> results;
  Value isFirst = b.cmp(Pred::eq, base, b.index(0));
  for (size_t c = 0; c < columns.size(); ++c) {
    Value sum = sums[2 * c];
    for (auto [u, row] : llvm::enumerate(rows)) {
      if (!own.empty()) {
        Value isHere = b.cmp(Pred::eq, b.add(base, b.index(u)), ownPlace);
        sum = addWhere(b.both(row.isRow, isHere), sum, own[c]);
      }
      Value next = addColumns(sum, loaded[u][c], row.weight);
      sum = b.select(row.isRow, next, sum);
    }
    results.push_back(sum);
    results.push_back(b.select(isFirst, loaded[0][c], sums[2 * c + 1]));
  }
  return results;
}

Value CombineSum::addWhere(Value isHere, Value sum, Value term) {
  Value added = isa<FloatType>(element)
                    ? Value(arith::AddFOp::create(b, sum, term))
                    : b.add(sum, term);
  return b.select(isHere, added, sum);
}

SmallVector<Value>
CombineSum::addBatchByRank(const RowList &list, Value base, ArrayRef<Row> rows,
                           ArrayRef<SmallVector<Value>> loaded,
                           ValueRange sums) {
  size_t count = loaded.front().size();
  RankSums ranks{llvm::to_vector(sums.take_front(count)),
                 llvm::to_vector(sums.slice(count, count))};
  for (auto [u, row] : llvm::enumerate(rows)) {
    SmallVector<Value> before = ranks.partials;
    SmallVector<Value> added;
    for (Value vector : loaded[u])
      added.push_back(termOf(vector, row.weight));
    // The first row of all begins the sums.
    if (u == 0 && batchSize() == terms.most)
      ranks.partials = added;
    else
      addRow(ranks, list.begins, b.add(base, b.index(u)), added);
    for (auto [partial, other] : llvm::zip(ranks.partials, before))
      partial = b.select(row.isRow, partial, other);
  }
  SmallVector<Value> results = ranks.totals;
  llvm::append_range(results, ranks.partials);
  Value isFirst = b.cmp(Pred::eq, base, b.index(0));
  for (auto [first, bits] : llvm::zip(loaded.front(), sums.take_back(count)))
    results.push_back(b.select(isFirst, first, bits));
  return results;
}

SmallVector<Value> CombineSum::emptySums(size_t count) {
  SmallVector<Value> sums;
  for (size_t i = 0; i < count; ++i)
    llvm::append_values(sums, emptySum(), zeros());
  if (!terms.areByRank)
    return sums;
  sums.assign(2 * count, emptySum());
  sums.append(count, zeros());
  return sums;
}

std::pair<Value, Value> CombineSum::sumAndBits(ValueRange sums, size_t i) {
  if (!terms.areByRank)
    return {sums[2 * i], sums[2 * i + 1]};
  size_t count = sums.size() / 3;
  RankSums ranks{{sums[i]}, {sums[count + i]}};
  return {endRanks(ranks).front(), sums[2 * count + i]};
}

/// In few registers.
SmallVector<Value> CombineSum::listAhead(Value token, Value end) {
  RowList list = listRows(token, end);
  return {b.fromIndex(list.row, b.getI32Type()),
          b.fromIndex(list.peer, b.getI32Type())};
}

SmallVector<Value> CombineSum::listNext(Value token, Value end) {
  auto more = scf::IfOp::create(b, TypeRange{b.getI32Type(), b.getI32Type()},
                                b.cmp(Pred::ult, token, end),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(more.thenBlock());
  scf::YieldOp::create(b, listAhead(token, end));
  b.setInsertionPointToStart(more.elseBlock());
  scf::YieldOp::create(b, ValueRange{b.i32(-1), b.i32(0)});
  return more.getResults();
}

void CombineSum::reduceListed(Value token, Value member, ValueRange ahead) {
  RowList list;
  list.row = b.toIndex(ahead[0]);
  list.peer = b.toIndex(ahead[1]);
  Value isRow = b.cmp(Pred::sge, list.row, b.index(0));
  list.count = b.countBits(b.ballot(isRow));
  if (rowsArrive()) {
    waitForListed(token, list);
    if (list.isOnly)
      isRow = b.cmp(Pred::sge, list.row, b.index(0));
  }
  list.weight = loadWeight(list.row, list.peer);
  if (terms.areByRank)
    list.begins = findBegins(list.peer, isRow);
  // For a row that is not there a row of this rank is read, and not added.
  list.row = b.select(isRow, list.row, b.index(0));
  list.peer = b.select(isRow, list.peer, b.me());
  reduceToken(token, member, list);
}

/// Where the rows of a team's next token lie is known before the first may be
/// read.
void CombineSum::reduceTokens() {
  if (sharesOutTokens()) {
    KernelBuilder::FirstItem first = b.ownItems(b.numSubgroups());
    SmallVector<Value> ahead = listAhead(tokenOf(first.item), numTokens);
    waitForRows();
    b.phase("reduce");
    return reduceSharedOut(first, ahead);
  }
  Value size = b.index(b.launchShape().team);
  Value team = arith::DivUIOp::create(b, b.subgroup(), size);
  Value member = arith::RemUIOp::create(b, b.subgroup(), size);
  Value perBlock = b.index(b.numSubgroups() / b.launchShape().team);
  Value begin = b.add(b.mul(b.block(), perBlock), team);
  Value teams = b.mul(b.numBlocks(), perBlock), end = numTokens;
  SmallVector<Value> ahead = listAhead(begin, end);
  waitForRows();
  b.phase("reduce");
  auto tokens = scf::ForOp::create(b, begin, end, teams, ahead);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(tokens.getBody());
  Value token = tokens.getInductionVar();
  reduceListed(token, member, tokens.getRegionIterArgs());
  scf::YieldOp::create(b, listNext(b.add(token, teams), end));
}

Value CombineSum::tokenOf(Value share) {
  return arith::DivUIOp::create(b, share, b.index(b.launchShape().team));
}

/// Tokens have more rows or fewer, and so those of a subgroup more or less work
/// than those of another.
void CombineSum::reduceSharedOut(KernelBuilder::FirstItem first,
                                 ValueRange ahead) {
  Value team = b.index(b.launchShape().team);
  b.forTickets(
      tickets, epoch, b.mul(numTokens, team), first, ahead,
      [&](Value share, ValueRange ahead, llvm::function_ref<Value()> next) {
        Value token = tokenOf(share);
        reduceListed(token, arith::RemUIOp::create(b, share, team), ahead);
        return listNext(tokenOf(next()), numTokens);
      });
}

/// Where tokens may have fewer rows than slots, and all slots move at a time,
/// those with rows in up to a quarter of the slots, rounded up, or twice as
/// many load more columns instead of rows that they do not have.
void CombineSum::reduceToken(Value token, Value member, const RowList &list) {
  int64_t all = batchSize(), rows = all;
  if (terms.areFewer && all == terms.most)
    rows = llvm::divideCeil(all, 4);
  OpBuilder::InsertionGuard guard(b);
  for (; rows < all; rows *= 2) {
    auto branch =
        scf::IfOp::create(b, b.cmp(Pred::ule, list.count, b.index(rows)),
                          /*withElseRegion=*/true);
    b.setInsertionPointToStart(branch.thenBlock());
    reduceRows(token, member, list, rows);
    b.setInsertionPointToStart(branch.elseBlock());
  }
  reduceRows(token, member, list, all);
}

/// `size` rows at a time. A subgroup that adds all of its columns up at once
/// begins with the rows that it need not wait for.
void CombineSum::reduceRows(Value token, Value member, const RowList &list,
                            int64_t size) {
  int64_t held = numHeld(size);
  bool areAllHeld = held == numVectors();
  if (!areAllHeld)
    waitForTerms(token, list);
  forAllColumns(held, member, [&](ValueRange columns) {
    reduceColumns(token, list, size, columns, /*waits=*/areAllHeld);
  });
}

/// All lanes of the subgroup take part.
void CombineSum::reduceColumns(Value token, const RowList &list, int64_t size,
                               ValueRange columns, bool waits) {
  SmallVector<Value> own = ownTerms(columns);
  if (waits)
    waitForTerms(token, list);
  if (storesBits(size)) {
    Row row = rowAt(list, b.index(0));
    SmallVector<SmallVector<Value>> loaded = loadRows(row, columns);
    for (auto [column, bits] : llvm::zip(columns, loaded[0]))
      storeColumns(token, column, b.select(row.isRow, bits, zerosOf(terms.to)));
    return;
  }
  SmallVector<Value> sums = emptySums(columns.size());
  if (batchSize() == terms.most) {
    sums = addBatch(list, b.index(0), size, columns, sums, own);
  } else {
    auto batches =
        scf::ForOp::create(b, b.index(0), list.count, b.index(size), sums);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(batches.getBody());
    scf::YieldOp::create(b,
                         addBatch(list, batches.getInductionVar(), size,
                                  columns, batches.getRegionIterArgs(), own));
    sums = llvm::to_vector(ValueRange(batches.getResults()));
  }
  for (auto [i, column] : llvm::enumerate(columns)) {
    auto [sum, bits] = sumAndBits(sums, i);
    if (!own.empty())
      sum = addWhere(b.cmp(Pred::eq, list.count, ownPlace), sum, own[i]);
    Value isNone = list.isNone;
    if (!isNone)
      isNone = b.cmp(Pred::eq, list.count, b.index(0));
    // Zeros without a row (combine_s3).
    Value value = b.select(isNone, zerosOf(terms.to), toColumns(sum));
    if (keepsBits()) {
      Value isOnly = list.isOnly;
      if (!isOnly)
        isOnly = b.cmp(Pred::eq, list.count, b.index(1));
      value = b.select(isOnly, convertBits(bits), value);
    }
    storeColumns(token, column, value);
  }
}
