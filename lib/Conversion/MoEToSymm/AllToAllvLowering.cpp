//===- AllToAllvLowering.cpp - lower moe.alltoallv ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

/// Checks that no count is negative and that they sum to no more than the rows
/// of `send` (alltoallv_s4); copies them into a 1×R buffer for the exchange.
static Value checkedCounts(AllToAllvOp op, Value numRows, ProtocolBuilder &b) {
  using Pred = ProtocolBuilder::Pred;
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

void moe::lowerAllToAllv(AllToAllvOp op, ProtocolBuilder &b) {
  using Pred = ProtocolBuilder::Pred;
  Value recv = op.getOuts()[0], recvCounts = op.getOuts()[1];
  int64_t capacity = cast<MemRefType>(recv.getType()).getDimSize(0);
  Value zero = b.index(0);
  Value send = b.withContiguousRows(op.getSend());

  b.phase("count");
  Value counts = checkedCounts(op, b.dim(send, 0), b);
  b.phase("exchange");
  Value all = b.allGatherCounts(counts);

  b.phase("place");
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

  b.phase("put");
  b.forEachPeer([&](Value peer) {
    Value from = b.reduce(
        zero, peer, zero,
        [&](Value lower, ValueRange carried) -> SmallVector<Value> {
          return {b.add(carried[0], b.loadIndex(counts, {zero, lower}))};
        })[0];
    Value to = b.loadIndex(start, {peer});
    Value rows = b.loadIndex(counts, {zero, peer});
    if (op.getOverflow() == Overflow::drop) {
      // What lies past the capacity is left out.
      to = arith::MinUIOp::create(b, to, b.index(capacity));
      rows = arith::MinUIOp::create(b, rows, b.sub(b.index(capacity), to));
    }
    symm::PutOp::create(b, send, from, recv, to, peer, rows);
  });

  b.phase("complete");
  Value done = b.flags();
  b.signalAll(done);
  b.waitAll(done);
}
