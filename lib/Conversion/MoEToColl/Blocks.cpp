//===- Blocks.cpp - rows of pairs of ranks --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

Blocks::Blocks(CollBuilder &b, int64_t numParts)
    : b(b), numParts(numParts),
      table(b.scratch({b.numRanks(), numParts, 2}, b.getI32Type())) {
  b.fill(table, 0);
}

Value Blocks::load(Value rank, Value part, int64_t field) const {
  return b.loadIndex(table, {rank, part, b.index(field)});
}

void Blocks::store(Value value, Value rank, Value part, int64_t field) {
  b.storeIndex(value, table, {rank, part, b.index(field)});
}

void Blocks::set(Value rank, Value part, Value first, Value count,
                 std::optional<int64_t> capacity) {
  std::tie(first, count) = b.clip(first, count, capacity);
  store(first, rank, part, 0);
  store(count, rank, part, 1);
}

//===----------------------------------------------------------------------===//
// Blocks that rows tell
//===----------------------------------------------------------------------===//

/// Until `endCover`, the second number is the end of the block; 0 says that it
/// has no row yet.
void Blocks::cover(Value rank, Value part, Value row) {
  Value end = load(rank, part, 1);
  Value isFirst = b.cmp(Pred::eq, end, b.index(0));
  Value lower = arith::MinUIOp::create(b, load(rank, part, 0), row);
  store(b.select(isFirst, row, lower), rank, part, 0);
  store(arith::MaxUIOp::create(b, end, b.add(row, b.index(1))), rank, part, 1);
}

void Blocks::endCover() {
  forEach([&](Value rank, Value part, Value first, Value) {
    store(b.sub(load(rank, part, 1), first), rank, part, 1);
  });
}

void Blocks::copyTo(Value peerBlocks, int64_t side) const {
  b.loop(b.numRanks(), [&](Value rank) {
    b.loop(numParts, [&](Value part) {
      for (int64_t field : {0, 1})
        b.storeIndex(load(rank, part, field), peerBlocks,
                     {b.index(side), rank, part, b.index(field)});
    });
  });
}

Blocks Blocks::exchange(int64_t capacity) {
  Blocks theirs(b, numParts, b.allToAll(table));
  theirs.forEach([&](Value rank, Value, Value first, Value end) {
    Value isBlock = b.both(b.cmp(Pred::sge, first, b.index(0)),
                           b.cmp(Pred::sge, end, first));
    b.check(b.both(isBlock, b.cmp(Pred::sle, end, b.index(capacity))),
            symm::Failure::invalid_count, kRowsAskedForText, b.index(capacity),
            end, rank);
  });
  return theirs;
}

//===----------------------------------------------------------------------===//
// Where rows are
//===----------------------------------------------------------------------===//

void Blocks::forEach(
    llvm::function_ref<void(Value, Value, Value, Value)> body) const {
  b.loop(b.numRanks(), [&](Value rank) {
    auto ofPart = [&](Value part) {
      Value first = load(rank, part, 0);
      body(rank, part, first, b.add(first, load(rank, part, 1)));
    };
    if (numParts == 1)
      ofPart(b.index(0));
    else
      b.loop(numParts, ofPart);
  });
}

CollBuilder::Table Blocks::inPlace() {
  assert(numParts == 1 && "rows of a rank that are not together");
  CollBuilder::Table result = b.table();
  forEach([&](Value rank, Value, Value first, Value end) {
    b.storeIndex(first, result.starts, {rank});
    b.storeIndex(b.sub(end, first), result.counts, {rank});
  });
  return result;
}

Blocks::Box Blocks::box(bool mayBeTooMany) {
  Box box;
  box.shift = b.scratch({b.numRanks(), numParts}, b.getI32Type());
  if (b.pairRows())
    return paddedBox(box);
  box.table = b.table();
  box.numRows =
      b.reduce(b.index(0), b.index(b.numRanks()), b.index(0),
               [&](Value rank, ValueRange start) -> SmallVector<Value> {
                 Value end = shiftParts(box, rank, start[0]);
                 b.storeIndex(start[0], box.table.starts, {rank});
                 b.storeIndex(b.sub(end, start[0]), box.table.counts, {rank});
                 return {end};
               })[0];
  if (mayBeTooMany) {
    Value most = b.index(std::numeric_limits<int32_t>::max());
    b.check(b.cmp(Pred::ule, box.numRows, most), symm::Failure::invalid_count,
            kExchangeRowsText, most, box.numRows);
  }
  return box;
}

/// coll_s8
Blocks::Box Blocks::paddedBox(Box box) {
  Value room = b.index(*b.pairRows());
  b.loop(b.numRanks(), [&](Value rank) {
    Value start = b.mul(rank, room);
    Value rows = b.sub(shiftParts(box, rank, start), start);
    b.check(b.cmp(Pred::ule, rows, room), symm::Failure::capacity_exceeded,
            kPairRowsText, room, rows, rank);
  });
  box.table = b.paddedTable();
  box.numRows = b.index(b.numPaddedRows());
  return box;
}

Value Blocks::shiftParts(const Box &box, Value rank, Value start) {
  return b.reduce(b.index(0), b.index(numParts), start,
                  [&](Value part, ValueRange place) -> SmallVector<Value> {
                    b.storeIndex(b.sub(place[0], load(rank, part, 0)),
                                 box.shift, {rank, part});
                    return {b.add(place[0], load(rank, part, 1))};
                  })[0];
}

Value Blocks::rowInBox(const Box &box, Value rank, Value part, Value row) {
  return b.add(row, b.loadIndex(box.shift, {rank, part}));
}

void Blocks::pack(const Box &box, Value source, Value target) {
  forEach([&](Value rank, Value part, Value first, Value end) {
    b.loop(first, end, [&](Value row) {
      b.copyRow(source, row, target, rowInBox(box, rank, part, row));
    });
  });
}

void Blocks::unpack(const Box &box, Value source, Value target) {
  forEach([&](Value rank, Value part, Value first, Value end) {
    b.loop(first, end, [&](Value row) {
      b.copyRow(source, rowInBox(box, rank, part, row), target, row);
    });
  });
}
