//===- DispatchSlabs.cpp - counts of slabs, exchanged by a kernel ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// A flag that is the number: the epoch in the upper bits, rows in the lower,
/// all ones after an error. No rank sends the next one before all ranks have
/// begun their next run.
void DispatchKernel::sendSlabCounts() {
  b.onFirstBlock([&] {
    b.forPeers([&](Value peer) {
      Value rows = b.select(hasFailed(), b.i64(noCount()),
                            b.fromIndex(totalOf(peer), b.getI64Type()));
      symm::SignalOp::create(b, slabCounts, b.me(), peer,
                             b.add(countEpoch(), rows), /*relaxed=*/true);
    });
  });
}

/// Beside the wait for the rows. With padding or lists each block has to know
/// the counts of all senders.
void DispatchKernel::receiveSlabCounts() {
  bool isForAll = padding || lists;
  auto receive = [&] {
    b.forPeersAside([&](Value peer) {
      Value seen = symm::WaitOp::create(b, b.getI64Type(), slabCounts, peer,
                                        peer, countEpoch())
                       .getSeen();
      Value rows = b.sub(seen, countEpoch());
      b.check(b.cmp(Pred::ne, rows, b.i64(noCount())),
              symm::Failure::peer_failed, "status of a peer", b.i64(0),
              b.i64(-1), peer);
      auto store = [&] {
        b.storeIndex(b.toIndex(rows), op.getOutput(Output::TokensFromRank),
                     {peer});
      };
      if (!isForAll)
        return store();
      b.onFirstBlock(store);
      // Without a count nothing is known to be empty.
      Value bound = b.i64(op.getTokenBound());
      Value isCount = b.cmp(Pred::ule, rows, bound);
      b.storeIndex(b.toIndex(b.select(isCount, rows, bound)), slabRows, {peer});
    });
  };
  if (!isForAll)
    return b.onFirstBlock(receive);
  slabRows = b.workgroup({b.numRanks()}, b.getI32Type());
  receive();
  b.syncBlock();
}
