//===- AllToAllvProtocol.cpp - what lowerings of alltoallv share ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AllToAllvProtocol.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

Value moe::checkedSendCounts(AllToAllvOp op, Value numRows,
                             ProtocolBuilder &b) {
  Value counts = b.scratch({1, b.numRanks()}, b.getI32Type());
  b.reduce(b.index(0), b.index(b.numRanks()), b.index(0),
           [&](Value peer, ValueRange carried) -> SmallVector<Value> {
             Value count = b.load(op.getSendCounts(), {peer});
             Value rows = b.toIndex(count);
             Value left = b.sub(numRows, carried[0]);
             b.check(b.both(b.cmp(Pred::sge, rows, b.index(0)),
                            b.cmp(Pred::sle, rows, left)),
                     symm::Failure::invalid_count, kSendCountsText,
                     {numRows, b.add(carried[0], rows), peer, carried[0]});
             b.store(count, counts, {b.index(0), peer});
             return {b.add(carried[0], rows)};
           });
  return counts;
}

Value moe::placeSentRows(AllToAllvOp op, Value all, ProtocolBuilder &b) {
  Value recv = op.getOuts()[0], recvCounts = op.getOuts()[1];
  int64_t capacity = cast<MemRefType>(recv.getType()).getDimSize(0);
  // Blocks of lower senders come first.
  Value start = b.scratch({b.numRanks()}, b.getI64Type());
  b.loop(b.numRanks(), [&](Value peer) {
    auto [before, total] = b.sumOfSenders(all, peer);
    if (op.getOverflow() == Overflow::error)
      b.check(b.cmp(Pred::ule, total, b.index(capacity)),
              symm::Failure::capacity_exceeded, kRowsReceivedText,
              b.index(capacity), total, peer);
    b.storeIndex(before, start, {peer});
  });
  b.loop(b.numRanks(), [&](Value sender) {
    b.store(b.load(all, {sender, b.me()}), recvCounts, {sender});
  });
  return start;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// Counts are few. The first bad one is reported after the loop, whose loads
/// then need not wait for one another.
Value moe::areSendCountsFine(AllToAllvOp op, Value numRows,
                             ProtocolBuilder &b) {
  Value zero = b.index(0), none = b.index(-1);
  SmallVector<Value> found =
      b.reduce(zero, b.index(b.numRanks()), {zero, none, zero, zero},
               [&](Value rank, ValueRange carried) -> SmallVector<Value> {
                 Value rows = b.loadIndex(op.getSendCounts(), {rank});
                 Value left = b.sub(numRows, carried[0]);
                 Value isFine = b.both(b.cmp(Pred::sge, rows, zero),
                                       b.cmp(Pred::sle, rows, left));
                 Value isLater = b.cmp(Pred::sge, carried[1], zero);
                 Value keeps = arith::OrIOp::create(b, isFine, isLater);
                 return {b.add(carried[0], b.select(isFine, rows, zero)),
                         b.select(keeps, carried[1], rank),
                         b.select(keeps, carried[2], carried[0]),
                         b.select(keeps, carried[3], rows)};
               });
  Value ok = b.cmp(Pred::slt, found[1], zero);
  b.check(ok, symm::Failure::invalid_count, kSendCountsText,
          {numRows, b.add(found[2], found[3]), found[1], found[2]});
  return ok;
}

PeerCounts moe::countsOf(AllToAllvOp op, Value all, Value peer, Value total,
                         ProtocolBuilder &b) {
  int64_t capacity = cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(0);
  PeerCounts counts;
  counts.isAlive = b.cmp(Pred::sge, b.load(all, {peer, b.index(0)}), b.i32(0));
  counts.fits = b.cmp(Pred::sle, total, b.index(capacity));
  counts.total = total;
  counts.isFine = op.getOverflow() == Overflow::error
                      ? b.both(counts.isAlive, counts.fits)
                      : counts.isAlive;
  return counts;
}

void moe::checkCounts(AllToAllvOp op, Value all, Value peer,
                      const PeerCounts &counts, ProtocolBuilder &b) {
  int64_t capacity = cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(0);
  b.check(counts.isAlive, symm::Failure::peer_failed, "status of a peer",
          b.i64(0), b.i64(-1), peer);
  if (op.getOverflow() == Overflow::error)
    b.check(counts.fits, symm::Failure::capacity_exceeded, kRowsReceivedText,
            b.index(capacity), counts.total, peer);
  b.store(b.load(all, {peer, b.me()}), op.getOuts()[1], {peer});
}
