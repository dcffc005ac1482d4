//===- AllToAllvLowering.cpp - lower moe.alltoallv to messages ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/AllToAllvProtocol.h"
#include "Blocks.h"

using namespace mlir;
using namespace mlir::moe;

void moe::lowerAllToAllvToColl(AllToAllvOp op, CollBuilder &b) {
  Value recv = op.getOuts()[0];
  int64_t capacity = cast<MemRefType>(recv.getType()).getDimSize(0);
  Value zero = b.index(0);
  Value send = b.withContiguousRows(op.getSend());

  b.phase("count");
  Value counts = checkedSendCounts(op, b.dim(send, 0), b);
  b.phase("exchange");
  Value all = b.allGatherCounts(counts);

  b.phase("place");
  Value start = placeSentRows(op, all, b);
  // What lies past the capacity is left out, on both sides.
  std::optional<int64_t> bound;
  if (op.getOverflow() == Overflow::drop)
    bound = capacity;
  Blocks mine(b, /*numParts=*/1), theirs(b, /*numParts=*/1);
  b.loop(b.numRanks(), [&](Value peer) {
    mine.set(peer, zero, b.loadIndex(start, {peer}),
             b.loadIndex(counts, {zero, peer}), bound);
  });
  b.reduce(zero, b.index(b.numRanks()), zero,
           [&](Value sender, ValueRange sum) -> SmallVector<Value> {
             Value rows = b.loadIndex(all, {sender, b.me()});
             theirs.set(sender, zero, sum[0], rows, bound);
             return {b.add(sum[0], rows)};
           });
  CollBuilder::Table from = mine.inPlace(), to = theirs.inPlace();
  // Rows lie in `send` in the order of the ranks, whatever is left out.
  b.reduce(zero, b.index(b.numRanks()), zero,
           [&](Value peer, ValueRange sum) -> SmallVector<Value> {
             b.storeIndex(sum[0], from.starts, {peer});
             return {b.add(sum[0], b.loadIndex(counts, {zero, peer}))};
           });

  b.phase("move");
  Value rows = b.withAlignedRows(recv);
  b.exchange(CollBuilder::Rows{send, from, rows, to});
  b.copyBack(rows, recv);
}
