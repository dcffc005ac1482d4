//===- KernelBlocks.cpp - blocks of rows, in kernels ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBlocks.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

Value KernelBlocks::blockOf(Value key) {
  if (!isExpertMajor)
    return key;
  Value rank = b.owner(key, placement);
  Value part = b.sub(key, b.firstExpert(rank, placement));
  return b.add(b.mul(rank, b.index(numParts())), part);
}

std::pair<Value, Value> KernelBlocks::rowsOf(Value table, Value block) {
  Value parts = b.index(numParts());
  Value rank = arith::DivUIOp::create(b, block, parts);
  Value part = arith::RemUIOp::create(b, block, parts);
  return {b.loadIndex(table, {rank, part, b.index(0)}),
          b.loadIndex(table, {rank, part, b.index(1)})};
}

//===----------------------------------------------------------------------===//
// Boxes
//===----------------------------------------------------------------------===//

KernelBlocks::Box KernelBlocks::allocateBox() {
  Type i32 = b.getI32Type();
  Box box;
  box.begins = b.scratch({numBlocks()}, i32);
  box.places = b.scratch({numBlocks()}, i32);
  box.numRows = b.scratch({1}, i32);
  if (b.pairRows())
    box.inBox = b.scratch({numBlocks()}, i32);
  return box;
}

void KernelBlocks::storeBox(const Box &box,
                            llvm::function_ref<Value(Value)> rowsOf,
                            llvm::function_ref<void(Value, Value)> emit) {
  b.layOut(
      b.index(numBlocks()), rowsOf,
      [&](Value block, Value before, Value) {
        b.storeIndex(before, box.begins, {block});
        if (emit)
          emit(block, before);
      },
      [&](Value total) { b.storeIndex(total, box.numRows, {b.index(0)}); });
  if (b.pairRows())
    b.layOutPadded([&](Value rank) { return blocksOf(rank); }, rowsOf,
                   [&](Value block, Value row, Value) {
                     b.storeIndex(row, box.inBox, {block});
                   });
}

std::pair<Value, Value> KernelBlocks::blocksOf(Value rank) {
  Value parts = b.index(numParts()), first = b.mul(rank, parts);
  return {first, b.add(first, parts)};
}

/// The last block that begins at `row` or before: blocks without rows begin
/// where the next one does.
Value KernelBlocks::findBlock(const Box &box, Value row) {
  Value blocks = b.index(numBlocks());
  auto groups = scf::ForOp::create(b, b.index(0), blocks,
                                   b.index(kSubgroupSize), b.index(0));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(groups.getBody());
  Value block = b.add(groups.getInductionVar(), b.lane());
  Value isBlock = b.cmp(Pred::ult, block, blocks);
  Value begin = b.loadIndex(box.begins, {b.select(isBlock, block, b.index(0))});
  Value isBefore = b.both(isBlock, b.cmp(Pred::ule, begin, row));
  Value before = b.countBits(b.ballot(isBefore));
  scf::YieldOp::create(b, b.add(groups.getRegionIterArg(0), before));
  b.setInsertionPointAfter(groups);
  return b.sub(groups.getResult(0), b.index(1));
}

void KernelBlocks::pack(const Box &box,
                        ArrayRef<std::pair<Value, Value>> buffers) {
  copy(box, buffers, /*toBox=*/true, std::numeric_limits<int64_t>::max());
}

void KernelBlocks::unpack(const Box &box,
                          ArrayRef<std::pair<Value, Value>> buffers,
                          int64_t limit) {
  copy(box, buffers, /*toBox=*/false, limit);
}

/// The subgroups of all blocks take the rows of the box in turn.
void KernelBlocks::copy(const Box &box,
                        ArrayRef<std::pair<Value, Value>> buffers, bool toBox,
                        int64_t limit) {
  b.launch(/*stageBytes=*/0, [&] {
    Value zero = b.index(0);
    KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
    b.step(own.item, b.loadIndex(box.numRows, {zero}), own.begun,
           [&](Value row) {
             Value block = findBlock(box, row);
             Value inBlock = b.sub(row, b.loadIndex(box.begins, {block}));
             Value place = b.add(b.loadIndex(box.places, {block}), inBlock);
             Value isKept = b.cmp(Pred::ult, place, b.index(limit));
             if (box.inBox)
               row = b.add(b.loadIndex(box.inBox, {block}), inBlock);
             Value from = toBox ? place : row, to = toBox ? row : place;
             Value target = b.select(isKept, to, b.index(-1));
             for (auto [source, buffer] : buffers) {
               if (cast<MemRefType>(buffer.getType()).getRank() == 1)
                 b.onFirstLane([&, source = source, buffer = buffer] {
                   b.ifThen(isKept, [&] {
                     b.store(b.load(source, {from}), buffer, {to});
                   });
                 });
               else
                 symm::PutEachOp::create(b, source, from, buffer, target,
                                         b.me(), /*rotation=*/zero,
                                         /*lanes=*/1, /*member=*/Value(),
                                         /*team=*/1);
             }
           });
  });
}

//===----------------------------------------------------------------------===//
// Blocks of rows that are known
//===----------------------------------------------------------------------===//

/// A block for each key; its threads share the rows out.
Value KernelBlocks::cover(Value count,
                          llvm::function_ref<Value(Value, Value)> rowAt) {
  Value mine = allocateBlocks();
  // Blocks of experts that only larger ranks have.
  if (numBlocks() != numKeys())
    b.fill(mine, 0);
  b.launch(/*stageBytes=*/0, [&] {
    Value partial = b.workgroup({b.numSubgroups(), 2}, b.getI32Type());
    b.step(b.block(), b.index(numKeys()), b.numBlocks(),
           [&](Value key) { coverKey(mine, partial, key, count, rowAt); });
  });
  if (b.pairRows())
    seal(mine);
  return mine;
}

void KernelBlocks::coverKey(Value mine, Value partial, Value key, Value count,
                            llvm::function_ref<Value(Value, Value)> rowAt) {
  Value zero = b.index(0), one = b.index(1);
  Value none = b.index(std::numeric_limits<int32_t>::max());
  auto merge = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
    return {arith::MinSIOp::create(b, x[0], y[0]),
            arith::MaxSIOp::create(b, x[1], y[1])};
  };
  auto own = scf::ForOp::create(b, b.thread(), count,
                                b.index(b.launchShape().threads), {none, zero});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(own.getBody());
    Value row = rowAt(own.getInductionVar(), key);
    Value isRow = b.cmp(Pred::sge, row, zero);
    scf::YieldOp::create(b, merge(own.getRegionIterArgs(),
                                  {b.select(isRow, row, none),
                                   b.select(isRow, b.add(row, one), zero)}));
  }
  // Begin and end over the lanes of a subgroup, then over subgroups.
  SmallVector<Value> ends(own.getResults());
  for (int64_t distance = 1; distance < kSubgroupSize; distance *= 2) {
    Value other = arith::XOrIOp::create(b, b.lane(), b.index(distance));
    ends = merge(ends, {b.shuffle(ends[0], other), b.shuffle(ends[1], other)});
  }
  b.onFirstLane([&] {
    b.storeIndex(ends[0], partial, {b.subgroup(), zero});
    b.storeIndex(ends[1], partial, {b.subgroup(), one});
  });
  b.syncBlock();
  b.onThread(zero, [&] {
    SmallVector<Value> all =
        b.reduce(zero, b.index(b.numSubgroups()), {none, zero},
                 [&](Value subgroup, ValueRange ends) -> SmallVector<Value> {
                   return merge(ends, {b.loadIndex(partial, {subgroup, zero}),
                                       b.loadIndex(partial, {subgroup, one})});
                 });
    Value hasRows = b.cmp(Pred::ne, all[1], zero);
    Value begin = b.select(hasRows, all[0], zero);
    Value block = blockOf(key), parts = b.index(numParts());
    Value rank = arith::DivUIOp::create(b, block, parts);
    Value part = arith::RemUIOp::create(b, block, parts);
    b.storeIndex(begin, mine, {rank, part, zero});
    b.storeIndex(b.sub(all[1], begin), mine, {rank, part, one});
  });
  b.syncBlock();
}

Value KernelBlocks::sumOfParts(Value table, Value rank) {
  return b.reduce(b.index(0), b.index(numParts()), b.index(0),
                  [&](Value part, ValueRange sum) -> SmallVector<Value> {
                    Value rows = b.loadIndex(table, {rank, part, b.index(1)});
                    return {b.add(sum[0], rows)};
                  })[0];
}

//===----------------------------------------------------------------------===//
// Blocks that ranks know of one another
//===----------------------------------------------------------------------===//

Value KernelBlocks::allocateBlocks() {
  return b.scratch({b.numRanks(), numParts(), 2}, b.getI32Type());
}

KernelBlocks::Exchanged KernelBlocks::allocate(Value mine, Value theirs,
                                               KernelTables tables) {
  Exchanged known{mine, theirs, b.scratch({numBlocks()}, b.getI32Type()),
                  std::move(tables), Box()};
  if (needsBox())
    known.box = allocateBox();
  return known;
}

/// One block does it.
KernelBlocks::Exchanged KernelBlocks::exchange(Value mine,
                                               KernelTables::Field boxIs,
                                               int64_t capacity) {
  Exchanged known = allocate(mine, b.allToAll(mine), KernelTables(b));
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      checkBlocks(known.theirs, capacity);
      if (mayBeTooMany(capacity)) {
        Value most = b.index(kMostRows);
        if (needsBox())
          checkSum(known.theirs, most);
        checkSum(mine, most);
      }
      layOut(known, boxIs);
    });
  });
  known.tables.read();
  return known;
}

void KernelBlocks::layOut(Exchanged &known, KernelTables::Field boxIs) {
  using Tables = KernelTables;
  Tables &tables = known.tables;
  Value zero = b.index(0), parts = b.index(numParts());
  bool isSent = boxIs == Tables::SendStart;
  auto startOf = [&](bool box) {
    return box == isSent ? Tables::SendStart : Tables::RecvStart;
  };
  auto countOf = [&](bool box) {
    return box == isSent ? Tables::SendCount : Tables::RecvCount;
  };
  auto rowsIn = [&](Value table) {
    return [this, table](Value block) { return rowsOf(table, block).second; };
  };
  auto setStart = [&](bool isBox, Value block, Value row) {
    if (b.pairRows())
      return;
    Value part = arith::RemUIOp::create(b, block, parts);
    b.ifThen(b.cmp(Pred::eq, part, zero), [&] {
      tables.set(startOf(isBox), arith::DivUIOp::create(b, block, parts), row);
    });
  };
  auto emitMine = [&](Value block, Value row, Value) {
    b.storeIndex(b.sub(row, rowsOf(known.mine, block).first), known.shift,
                 {block});
    setStart(/*isBox=*/true, block, row);
  };
  if (b.pairRows())
    b.layOutPadded([&](Value rank) { return blocksOf(rank); },
                   rowsIn(known.mine), emitMine);
  else
    b.layOut(b.index(numBlocks()), rowsIn(known.mine), emitMine);
  if (needsBox())
    storeBox(known.box, rowsIn(known.theirs), [&](Value block, Value row) {
      b.storeIndex(rowsOf(known.theirs, block).first, known.box.places,
                   {block});
      setStart(/*isBox=*/false, block, row);
    });
  if (b.pairRows())
    return;
  b.forThreads(b.index(b.numRanks()), [&](Value rank) {
    tables.set(countOf(true), rank, sumOfParts(known.mine, rank));
    tables.set(countOf(false), rank, sumOfParts(known.theirs, rank));
    if (!isExpertMajor)
      tables.set(startOf(false), rank, rowsOf(known.theirs, rank).first);
  });
}

/// After an error with padding there may be no such row in the box.
Value KernelBlocks::rowInBox(const Exchanged &known, Value row, Value key) {
  Value isRow = b.cmp(Pred::sge, row, b.index(0));
  Value block = blockOf(b.select(isRow, key, b.index(0)));
  if (known.areKept)
    isRow = checkRow(known, row, isRow, block);
  Value place = b.add(row, b.loadIndex(known.shift, {block}));
  if (b.pairRows())
    isRow = b.both(isRow, b.cmp(Pred::ult, place, b.index(b.numPaddedRows())));
  return b.select(isRow, place, b.index(-1));
}
