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
/// first subgroup of a block fills them, several at a time where rows are
/// short: a stage is full when its bytes are there, and free again when a team
/// of the other subgroups, which add, has read it.
///
//===----------------------------------------------------------------------===//

#include "CombineSum.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

/// Vectors that a thread adds up at the same time, and rows that it loads at a
/// time.
static constexpr int64_t kMaxHeld = 2;
static constexpr int64_t kMaxGroup = 4;
/// Bytes of the tokens that are fetched at the same time: with short rows the
/// subgroup that brings them has less to do for each, but it waits for as many
/// stages to be free.
static constexpr int64_t kGroupBytes = 24 * 1024;

int64_t CombineSum::numParts() {
  if (!allowsBulkCopies(cast<MemRefType>(op.getY().getType())) ||
      b.numSubgroups() < 2)
    return 0;
  return getStageParts(rowLength * elementBytes(), maxRows(), numStages());
}

void CombineSum::reduceTokensInBulk() {
  auto [first, end] = b.blockRange(numTokens);
  Value zero = b.index(0);
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  int64_t stages = numStages();
  full = b.workgroup({stages}, i64);
  empty = b.workgroup({stages}, i64);
  counts = b.workgroup({stages}, i32);
  if (op.getWeights())
    weights = b.workgroup({stages, maxRows()}, b.getF32Type());
  if (addsByRank())
    peers = b.workgroup({stages, maxRows()}, i32);
  b.onThread(zero, [&] {
    symm::StageInitOp::create(b, full, /*arrivals=*/1);
    symm::StageInitOp::create(b, empty, /*arrivals=*/adders());
  });
  b.syncBlock();
  ring = b.stages({stages * maxRows(), partLength()}, element, zero);
  waitForRows();
  b.phase("reduce");
  auto role = scf::IfOp::create(b, b.cmp(Pred::eq, b.subgroup(), zero),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(role.thenBlock());
  // Other ranks stored the rows.
  symm::BulkFenceOp::create(b);
  bringTokens(first, end);
  b.setInsertionPointToStart(role.elseBlock());
  addTokens(first, end);
}

SmallVector<Value> CombineSum::startOfRing() {
  return {b.index(0), b.index(0)};
}

CombineSum::Turn CombineSum::advance(Turn turn, Value count) {
  Value depth = b.index(numStages()), next = b.add(turn.slot, count);
  Value wraps = b.cmp(Pred::uge, next, depth);
  return {b.select(wraps, b.sub(next, depth), next),
          b.select(wraps, b.add(turn.round, b.index(1)), turn.round)};
}

/// Of tokens `token` to `end`, as many as there are lanes for.
CombineSum::RowBatch CombineSum::lookUpBatch(Value token, Value end) {
  RowBatch batch;
  Value own = b.add(token, laneToken);
  Value isSlot = b.both(b.cmp(Pred::ult, laneToken, b.index(batchTokens())),
                        b.cmp(Pred::ult, own, end));
  auto [row, owner] = lookUp(own, laneSlot, isSlot);
  Value isRow = b.cmp(Pred::sge, row, b.index(0));
  batch.mask = b.ballot(isRow);
  Value firstLane = b.mul(laneToken, b.index(numSlots()));
  if (op.isExpertMajor()) {
    // The number of smaller experts (combine_s1).
    batch.place = b.index(0);
    for (int64_t i = 0; i < numSlots(); ++i) {
      Value lane = b.add(firstLane, b.index(i));
      Value isOther = b.cmp(Pred::sge, b.shuffle(row, lane), b.index(0));
      Value isLess =
          b.both(isOther, b.cmp(Pred::slt, b.shuffle(owner, lane), owner));
      batch.place =
          b.select(isLess, b.add(batch.place, b.index(1)), batch.place);
    }
    owner = b.owner(b.select(isRow, owner, b.index(0)), placement);
  } else {
    Value before = arith::ShRUIOp::create(
        b, b.bitsBelow(batch.mask), b.fromIndex(firstLane, b.getI32Type()));
    batch.place = b.countBits(before);
  }
  batch.row = row;
  batch.peer = owner;
  batch.weight = loadWeight(row, owner);
  return batch;
}

/// Rows are looked up one batch ahead, so that their weights have arrived when
/// they are needed.
void CombineSum::bringTokens(Value first, Value end) {
  Value zero = b.index(0), size = b.index(batchTokens());
  Value slots = b.index(numSlots());
  laneToken = arith::DivUIOp::create(b, b.lane(), slots);
  laneSlot = arith::RemUIOp::create(b, b.lane(), slots);
  auto flatten = [](const RowBatch &batch, ValueRange turn) {
    SmallVector<Value> values = {batch.row, batch.peer, batch.place,
                                 batch.mask};
    if (batch.weight)
      values.push_back(batch.weight);
    llvm::append_range(values, turn);
    return values;
  };
  SmallVector<Value> init = flatten(lookUpBatch(first, end), startOfRing());
  auto batches = scf::ForOp::create(b, first, end, size, init);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(batches.getBody());
  ValueRange carried = batches.getRegionIterArgs();
  RowBatch batch{carried[0], carried[1], carried[2], carried[3],
                 op.getWeights() ? carried[4] : Value()};
  Value token = batches.getInductionVar();
  RowBatch next = lookUpBatch(b.add(token, size), end);
  Value tokens = arith::MinUIOp::create(b, size, b.sub(end, token));
  // One after the other, or several whole tokens at a time.
  int64_t group = groupTokens();
  SmallVector<Value> turn = carried.take_back(2);
  auto groups =
      scf::ForOp::create(b, zero, tokens, b.index(group), ValueRange(turn));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(groups.getBody());
    Value inBatch = groups.getInductionVar(), count = b.index(group);
    if (group > 1)
      count = arith::MinUIOp::create(b, count, b.sub(tokens, inBatch));
    turn = b.reduce(zero, b.index(numParts()), groups.getRegionIterArgs(),
                    [&](Value part, ValueRange turn) -> SmallVector<Value> {
                      Turn here{turn[0], turn[1]};
                      bringTokensOfGroup(batch, inBatch, count, part, here);
                      Turn next = advance(here, count);
                      return {next.slot, next.round};
                    });
    scf::YieldOp::create(b, turn);
  }
  scf::YieldOp::create(b, flatten(next, groups.getResults()));
}

/// Tokens inBatch .. inBatch + count - 1 of the batch, in a stage each from
/// `turn` on. One lane per row fetches it.
void CombineSum::bringTokensOfGroup(const RowBatch &batch, Value inBatch,
                                    Value count, Value part, Turn turn) {
  Value zero = b.index(0), one = b.index(1);
  Value isOfGroup, isFirst, firstLane;
  if (groupTokens() > 1) {
    // Each lane looks after the stage of its own token.
    Value ahead = b.sub(laneToken, inBatch);
    isOfGroup = b.cmp(Pred::ult, ahead, count);
    isFirst = b.both(isOfGroup, b.cmp(Pred::eq, laneSlot, zero));
    firstLane = b.mul(laneToken, b.index(numSlots()));
    turn = advance(turn, ahead);
  } else {
    isOfGroup = b.cmp(Pred::eq, laneToken, inBatch);
    isFirst = b.cmp(Pred::eq, b.lane(), zero);
    firstLane = b.mul(inBatch, b.index(numSlots()));
  }
  Value waits = b.cmp(Pred::ne, turn.round, zero);
  if (groupTokens() > 1)
    waits = b.both(isOfGroup, waits);
  b.ifThen(waits, [&] {
    Value last = b.sub(turn.round, one);
    symm::StageWaitOp::create(b, empty, turn.slot,
                              arith::AndIOp::create(b, last, one));
  });
  Value isRow = b.both(isOfGroup, b.cmp(Pred::sge, batch.row, zero));
  if (batch.weight)
    b.ifThen(isRow,
             [&] { b.store(batch.weight, weights, {turn.slot, batch.place}); });
  if (addsByRank())
    b.ifThen(isRow, [&] {
      b.storeIndex(batch.peer, peers, {turn.slot, batch.place});
    });
  b.syncSubgroup();
  b.ifThen(isFirst, [&] {
    int64_t all = (int64_t(1) << numSlots()) - 1;
    Value ofToken = arith::ShRUIOp::create(
        b, batch.mask, b.fromIndex(firstLane, b.getI32Type()));
    Value rows = b.countBits(
        arith::AndIOp::create(b, ofToken, b.i32(static_cast<int32_t>(all))));
    b.storeIndex(rows, counts, {turn.slot});
    Value bytes = b.mul(rows, b.index(partLength() * elementBytes()));
    symm::StageExpectOp::create(b, full, turn.slot, bytes);
  });
  b.syncSubgroup();
  b.ifThen(isRow, [&] {
    Value there = rowsOf(batch.peer);
    Value row = b.add(b.mul(turn.slot, b.index(maxRows())), batch.place);
    symm::FetchOp::create(
        b, there, ValueRange{batch.row, b.mul(part, b.index(partLength()))},
        ring, row, full, turn.slot);
  });
}

int64_t CombineSum::groupTokens() {
  if (numParts() > 1)
    return 1;
  int64_t most = std::max<int64_t>(std::min(batchTokens(), numStages() / 4), 1);
  return std::clamp<int64_t>(kGroupBytes / stageBytes(), 1, most);
}

int64_t CombineSum::adders() {
  int64_t adding = b.numSubgroups() - 1;
  return adding / getTeamsForStages(adding, numStages());
}

/// Teams of all subgroups but the first take the stages in turn.
void CombineSum::addTokens(Value first, Value end) {
  Value one = b.index(1), depth = b.index(numStages());
  Value size = b.index(adders());
  Value other = b.sub(b.subgroup(), one);
  Value team = arith::DivUIOp::create(b, other, size);
  Value member = arith::RemUIOp::create(b, other, size);
  Value teams = b.index((b.numSubgroups() - 1) / adders());
  Value parts = b.index(numParts());
  b.step(team, b.mul(b.sub(end, first), parts), teams, [&](Value i) {
    Value token = b.add(first, arith::DivUIOp::create(b, i, parts));
    Value part = arith::RemUIOp::create(b, i, parts);
    Value slot = arith::RemUIOp::create(b, i, depth);
    Value round = arith::DivUIOp::create(b, i, depth);
    symm::StageWaitOp::create(b, full, slot,
                              arith::AndIOp::create(b, round, one));
    addStage(token, part, slot, member);
    b.syncSubgroup();
    b.onFirstLane([&] { symm::StageArriveOp::create(b, empty, slot); });
  });
}

/// The columns of a stage are spread over a team.
void CombineSum::addStage(Value token, Value part, Value slot, Value member) {
  int64_t step = adders() * kSubgroupSize * vectorLength();
  int64_t held =
      std::min<int64_t>(llvm::divideCeil(partLength(), step), kMaxHeld);
  Stage stage{slot, b.loadIndex(counts, {slot}), Value()};
  if (addsByRank()) {
    // What lies past the rows of the stage does not matter.
    Value last = b.index(maxRows() - 1);
    Value row = arith::MinUIOp::create(b, b.lane(), last);
    stage.begins = findBegins(b.loadIndex(peers, {slot, row}),
                              b.cmp(Pred::ult, b.lane(), stage.count));
  }
  SmallVector<Value> columns =
      forColumns(partLength(), adders(), held, member, [&](ValueRange columns) {
        addColumnsOfStage(token, part, stage, columns);
      });
  if (columns.empty())
    return;
  // Threads past the end have no last column.
  Value isInside = b.cmp(Pred::ult, columns.back(), b.index(partLength()));
  auto branch = scf::IfOp::create(b, isInside, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  addColumnsOfStage(token, part, stage, columns);
  b.setInsertionPointToStart(branch.elseBlock());
  columns.pop_back();
  if (!columns.empty())
    addColumnsOfStage(token, part, stage, columns);
}

void CombineSum::addColumnsOfStage(Value token, Value part, const Stage &stage,
                                   ValueRange columns) {
  Value base = b.mul(part, b.index(partLength()));
  auto store = [&](ValueRange values) {
    for (auto [column, value] : llvm::zip(columns, values))
      storeColumns(token, b.add(base, column), value);
  };
  // Most tokens have more rows than one.
  Value isSum = b.cmp(Pred::uge, stage.count, b.index(keepsBits() ? 2 : 1));
  auto branch = scf::IfOp::create(b, isSum, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  SmallVector<Value> sums = sumColumnsOfStage(stage, columns);
  for (Value &sum : sums)
    sum = toColumns(sum);
  store(sums);
  b.setInsertionPointToStart(branch.elseBlock());
  SmallVector<Value> values(columns.size(), zeros());
  if (keepsBits())
    for (auto [value, column] : llvm::zip(values, columns))
      value = b.select(b.cmp(Pred::eq, stage.count, b.index(0)), value,
                       loadColumns(stage.slot, b.index(0), column));
  store(values);
}

Value CombineSum::loadColumns(Value slot, Value row, Value column) {
  Value place = b.add(b.mul(slot, b.index(maxRows())), row);
  return vector::LoadOp::create(
      b, vectorType(), ring, ValueRange{place, column}, /*nontemporal=*/false,
      llvm::MaybeAlign(vectorLength() * elementBytes()));
}

/// Rows are loaded in groups that the rows of a stage divide into, so that
/// loads are in flight together; a place without a row is loaded and not added.
SmallVector<Value> CombineSum::sumColumnsOfStage(const Stage &stage,
                                                 ValueRange columns) {
  int64_t group = std::min(kMaxGroup, maxRows());
  while (maxRows() % group != 0)
    --group;
  Value groups = arith::CeilDivUIOp::create(b, stage.count, b.index(group));
  // With `addsByRank` the sums of ranks, and then those of one rank.
  SmallVector<Value> init(columns.size() * (addsByRank() ? 2 : 1), emptySum());
  SmallVector<Value> sums =
      b.reduce(b.index(0), groups, init, [&](Value i, ValueRange carried) {
        Value base = b.mul(i, b.index(group));
        SmallVector<SmallVector<Value>> loaded(group);
        for (int64_t u = 0; u < group; ++u)
          for (Value column : columns)
            loaded[u].push_back(
                loadColumns(stage.slot, b.add(base, b.index(u)), column));
        SmallVector<Value> sums = llvm::to_vector(carried);
        for (int64_t u = 0; u < group; ++u) {
          Value row = b.add(base, b.index(u));
          auto add = scf::IfOp::create(b, ValueRange(sums).getTypes(),
                                       b.cmp(Pred::ult, row, stage.count),
                                       /*withElseRegion=*/true);
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(add.elseBlock());
          scf::YieldOp::create(b, sums);
          b.setInsertionPointToStart(add.thenBlock());
          scf::YieldOp::create(b, addRowOfStage(stage, row, loaded[u], sums));
          sums = llvm::to_vector(ValueRange(add.getResults()));
        }
        return sums;
      });
  if (!addsByRank())
    return sums;
  ArrayRef<Value> all = sums;
  return endRanks({SmallVector<Value>(all.take_front(columns.size())),
                   SmallVector<Value>(all.take_back(columns.size()))});
}

SmallVector<Value> CombineSum::addRowOfStage(const Stage &stage, Value row,
                                             ValueRange vectors,
                                             ValueRange sums) {
  Value weight;
  if (weights)
    weight = b.load(weights, {stage.slot, row});
  SmallVector<Value> added;
  if (!addsByRank()) {
    for (auto [sum, vector] : llvm::zip(sums, vectors))
      added.push_back(addColumns(sum, vector, weight));
    return added;
  }
  RankSums ranks{llvm::to_vector(sums.take_front(vectors.size())),
                 llvm::to_vector(sums.take_back(vectors.size()))};
  for (Value vector : vectors)
    added.push_back(termOf(vector, weight));
  addRow(ranks, stage.begins, row, added);
  added = ranks.totals;
  llvm::append_range(added, ranks.partials);
  return added;
}
