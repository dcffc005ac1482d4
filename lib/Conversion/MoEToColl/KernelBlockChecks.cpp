//===- KernelBlockChecks.cpp - blocks that ranks tell one another ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What a rank checks of the blocks that it tells the others, and of those that
/// it is told, before a row of them moves.
///
//===----------------------------------------------------------------------===//

#include "KernelBlocks.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

/// With padding there is room for those of each pair of ranks.
bool KernelBlocks::mayBeTooMany(int64_t capacity) const {
  return !b.pairRows() && capacity > kMostRows / numBlocks();
}

/// The rows of two ranks have to have room in a message (coll_s8). After an
/// error of any kind this rank says so in place of its blocks, so that all
/// ranks learn of it.
void KernelBlocks::seal(Value mine) {
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      b.trackErrors();
      b.syncBlock();
      checkPairRows(mine);
      b.onThread(b.index(b.launchShape().threads - 1), [&] {
        Value failed = symm::FailedOp::create(b, b.getI1Type());
        b.noteError(b.cmp(Pred::eq, failed, b.integer(b.getI1Type(), 0)));
      });
      b.syncBlock();
      storeUnlessFine(mine, b.index(-1));
    });
  });
}

void KernelBlocks::checkPairRows(Value table) {
  Value room = b.index(*b.pairRows());
  b.forThreads(b.index(b.numRanks()), [&](Value rank) {
    Value rows = sumOfParts(table, rank);
    Value hasRoom = b.cmp(Pred::sle, rows, room);
    b.check(hasRoom, symm::Failure::capacity_exceeded, kPairRowsText, room,
            rows, rank);
    b.noteError(hasRoom);
  });
}

/// `value` for first rows and numbers of rows, if this block has noted an
/// error.
void KernelBlocks::storeUnlessFine(Value table, Value value) {
  Value no = b.integer(b.getI1Type(), 0), parts = b.index(numParts());
  b.ifThen(b.cmp(Pred::eq, b.hasNoError(), no), [&] {
    b.forThreads(b.index(numBlocks()), [&](Value block) {
      Value rank = arith::DivUIOp::create(b, block, parts);
      Value part = arith::RemUIOp::create(b, block, parts);
      b.storeIndex(value, table, {rank, part, b.index(0)});
      b.storeIndex(value, table, {rank, part, b.index(1)});
    });
  });
}

/// With padding the kernels that follow run in any case, so that blocks which
/// are not fine are to have no rows.
void KernelBlocks::checkBlocks(Value theirs, int64_t capacity) {
  if (b.pairRows()) {
    b.trackErrors();
    b.syncBlock();
  }
  Value limit = b.index(capacity);
  b.forThreads(b.index(numBlocks()), [&](Value block) {
    checkBlock(theirs, block, limit, kRowsAskedForText,
               /*tellsErrors=*/b.pairRows().has_value());
  });
  if (!b.pairRows())
    return;
  checkPairRows(theirs);
  b.syncBlock();
  storeUnlessFine(theirs, b.index(0));
  b.syncBlock();
}

/// A block without rows may begin anywhere, as an empty group does. What
/// `tellsErrors` is -1 after an error of its sender.
void KernelBlocks::checkBlock(Value table, Value block, Value limit,
                              StringRef text, bool tellsErrors) {
  Value zero = b.index(0);
  Value rank = arith::DivUIOp::create(b, block, b.index(numParts()));
  auto [start, rows] = rowsOf(table, block);
  Value end = b.add(start, rows);
  Value isBlock =
      b.both(b.cmp(Pred::sge, start, zero), b.cmp(Pred::sge, rows, zero));
  Value hasRoom = arith::OrIOp::create(b, b.cmp(Pred::eq, rows, zero),
                                       b.cmp(Pred::sle, end, limit));
  Value isFine = b.both(isBlock, hasRoom);
  Value isChecked = isFine;
  if (tellsErrors) {
    Value failed = b.cmp(Pred::slt, rows, zero);
    b.check(b.cmp(Pred::sge, rows, zero), symm::Failure::peer_failed,
            "status of a peer", b.i64(0), b.i64(-1), rank);
    isChecked = arith::OrIOp::create(b, isFine, failed);
  }
  b.check(isChecked, symm::Failure::invalid_count, text, limit, end, rank);
  b.noteError(isFine);
}

//===----------------------------------------------------------------------===//
// Blocks that a dispatch has kept
//===----------------------------------------------------------------------===//

void KernelBlocks::copyKept(Value peerBlocks, int64_t side, Value table) {
  Value parts = b.index(numParts());
  b.forThreads(b.index(numBlocks()), [&](Value block) {
    Value rank = arith::DivUIOp::create(b, block, parts);
    Value part = arith::RemUIOp::create(b, block, parts);
    for (int64_t field : {0, 1}) {
      Value place = b.index(field);
      b.store(b.load(peerBlocks, {b.index(side), rank, part, place}), table,
              {rank, part, place});
    }
  });
}

/// The host has no part in it, so kernels that follow run after an error, too:
/// then there are no rows.
KernelBlocks::Exchanged KernelBlocks::adopt(Value peerBlocks, Value peerRows,
                                            KernelTables::Field boxIs,
                                            int64_t capacity) {
  using Tables = KernelTables;
  bool isReturn = boxIs == Tables::RecvStart;
  Exchanged known = allocate(allocateBlocks(), allocateBlocks(),
                             Tables(b, peerRows, isReturn));
  known.areKept = true;
  Value mineEnd = known.tables.numRows(boxIs);
  Value theirEnd =
      known.tables.numRows(isReturn ? Tables::SendStart : Tables::RecvStart,
                           needsBox() ? std::nullopt : std::optional(capacity));
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      Value limit = b.index(capacity), zero = b.index(0);
      copyKept(peerBlocks, 0, known.mine);
      copyKept(peerBlocks, 1, known.theirs);
      b.trackErrors();
      b.syncBlock();
      for (Value table : {known.mine, known.theirs})
        b.forThreads(b.index(numBlocks()), [&](Value block) {
          checkBlock(table, block, limit, kKeptBlockText,
                     /*tellsErrors=*/false);
        });
      checkSum(known.mine, mineEnd);
      if (needsBox())
        checkSum(known.theirs, theirEnd);
      b.syncBlock();
      storeUnlessFine(known.mine, zero);
      storeUnlessFine(known.theirs, zero);
      b.syncBlock();
      layOut(known, boxIs);
    });
  });
  return known;
}

/// Whether `row` is a row of `block`, to which a `send_row` assigns it.
Value KernelBlocks::checkRow(const Exchanged &known, Value row, Value isRow,
                             Value block) {
  auto [first, rows] = rowsOf(known.mine, block);
  Value isOfBlock = b.cmp(Pred::ult, b.sub(row, first), rows);
  Value isNone = b.cmp(Pred::eq, row, b.index(-1));
  Value last = b.sub(b.add(first, rows), b.index(1));
  Value rank = arith::DivUIOp::create(b, block, b.index(numParts()));
  b.check(arith::OrIOp::create(b, isNone, isOfBlock),
          symm::Failure::invalid_count, kKeptRowText, {last, row, rank, first});
  return b.both(isRow, isOfBlock);
}

/// Tables are i32, and so is what lanes add up: a sum that has no room there is
/// an error before it is used. The threads add up 64 bits.
void KernelBlocks::checkSum(Value table, Value most) {
  Value zero = b.index(0);
  Value sums = b.workgroup({b.launchShape().threads}, b.getI64Type());
  auto own = scf::ForOp::create(b, b.thread(), b.index(numBlocks()),
                                b.index(b.launchShape().threads), zero);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(own.getBody());
    Value rows = rowsOf(table, own.getInductionVar()).second;
    scf::YieldOp::create(b, b.add(own.getRegionIterArg(0), rows));
  }
  b.storeIndex(own.getResult(0), sums, {b.thread()});
  b.syncBlock();
  b.onThread(zero, [&] {
    Value sum = b.reduce(zero, b.index(b.launchShape().threads), zero,
                         [&](Value i, ValueRange sum) -> SmallVector<Value> {
                           return {b.add(sum[0], b.loadIndex(sums, {i}))};
                         })[0];
    Value isFine = b.cmp(Pred::sle, sum, most);
    b.check(isFine, symm::Failure::invalid_count, kExchangeRowsText, most, sum);
    b.noteError(isFine);
  });
}
