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

/// Rows that lie on their receiver where others may lie: packed, and unpacked.
static void moveThroughBoxes(Value send, Blocks &sent, Value recv,
                             Blocks &theirs, CollBuilder &b) {
  b.phase("pack");
  Blocks::Box outbox = sent.box(/*mayBeTooMany=*/false);
  Value packed = b.rowsLike(send, outbox.numRows);
  sent.pack(outbox, send, packed);
  b.phase("move");
  Blocks::Box inbox = theirs.box(/*mayBeTooMany=*/false);
  Value received = b.rowsLike(recv, inbox.numRows);
  b.exchange(CollBuilder::Rows{packed, outbox.table, received, inbox.table});
  b.phase("unpack");
  theirs.unpack(inbox, received, recv);
}

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
  Blocks sent(b, /*numParts=*/1), theirs(b, /*numParts=*/1);
  b.reduce(zero, b.index(b.numRanks()), zero,
           [&](Value peer, ValueRange sum) -> SmallVector<Value> {
             Value rows = b.loadIndex(counts, {zero, peer});
             auto [to, kept] = b.clip(b.loadIndex(start, {peer}), rows, bound);
             sent.set(peer, zero, sum[0], kept, std::nullopt);
             return {b.add(sum[0], rows)};
           });
  b.reduce(zero, b.index(b.numRanks()), zero,
           [&](Value sender, ValueRange sum) -> SmallVector<Value> {
             Value rows = b.loadIndex(all, {sender, b.me()});
             theirs.set(sender, zero, sum[0], rows, bound);
             return {b.add(sum[0], rows)};
           });

  if (b.pairRows())
    return moveThroughBoxes(send, sent, recv, theirs, b);
  CollBuilder::Table from = sent.inPlace(), to = theirs.inPlace();
  b.phase("move");
  Value rows = b.withAlignedRows(recv);
  b.exchange(CollBuilder::Rows{send, from, rows, to});
  b.copyBack(rows, recv);
}
