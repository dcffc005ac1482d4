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
