//===- AllToAllvLowering.cpp - lower moe.alltoallv ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/AllToAllvProtocol.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

void moe::lowerAllToAllv(AllToAllvOp op, ProtocolBuilder &b) {
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
