//===- DispatchKernelCounts.cpp - counts that ranks tell one another ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// All rows wait for the counts. A signal that publishes counts in memory waits
/// itself until these have arrived, and who has seen it then reads them: a way
/// over the links and one to memory more than if the signals are the counts. So
/// they are, where threads wait for few of them.
///
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// One block adds up the counts of all and sends them to every rank.
void DispatchKernel::publishCounts() {
  noteStatus();
  b.onFirstBlock([&] {
    // Those of experts that are marked need no sums.
    bool areKnown = countFlags && op.isExpertMajor() && marksTokens();
    if (areKnown)
      sendCounts();
    storeTotals();
    if (isSlab() || areKnown)
      return;
    b.syncBlock();
    if (countFlags)
      sendCounts();
    else
      storeCounts();
  });
}

Value DispatchKernel::countOf(Value key) {
  if (op.isExpertMajor() || !keyIsExpert())
    return b.fromIndex(totalOf(key), b.getI32Type());
  return b.load(op.getOutput(Output::TokensToRank), {key});
}

/// A rank that has found an error sends -1.
void DispatchKernel::storeCounts() {
  Value failed = hasFailed();
  Value perRank = b.index(numExchanged());
  b.forThreads(b.index(b.numRanks() * numExchanged()), [&](Value i) {
    Value peer = arith::DivUIOp::create(b, i, perRank);
    Value key = arith::RemUIOp::create(b, i, perRank);
    Value there = symm::PeerOp::create(b, all, peer);
    b.store(b.select(failed, b.i32(-1), countOf(key)), there, {b.me(), key});
  });
  b.syncBlock();
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
  });
}

/// The epoch in the upper bits, rows in the lower, all ones after an error. No
/// rank sends the next one before all blocks of the others have ended this run.
void DispatchKernel::sendCounts() {
  Value failed = hasFailed();
  Value perRank = b.index(numExchanged());
  Value first = b.mul(b.me(), perRank);
  b.forThreads(b.index(b.numRanks() * numExchanged()), [&](Value i) {
    Value peer = arith::DivUIOp::create(b, i, perRank);
    Value key = arith::RemUIOp::create(b, i, perRank);
    Value rows =
        b.select(failed, b.i64(noCount()),
                 arith::ExtUIOp::create(b, b.getI64Type(), countOf(key)));
    symm::SignalOp::create(b, countFlags, b.add(first, key), peer,
                           b.add(countEpoch(), rows), /*relaxed=*/true);
  });
}

/// A thread for each, or for two. One that has not come, or is of a later run,
/// which begins when a rank has given up this one, is none.
void DispatchKernel::receiveCounts() {
  all = b.workgroup({b.numRanks(), numExchanged()}, b.getI32Type());
  Value perRank = b.index(numExchanged());
  auto own =
      scf::ForOp::create(b, b.thread(), b.index(b.numRanks() * numExchanged()),
                         b.index(b.launchShape().threads), haveArrived);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(own.getBody());
  Value word = own.getInductionVar();
  Value peer = arith::DivUIOp::create(b, word, perRank);
  Value key = arith::RemUIOp::create(b, word, perRank);
  Value seen = symm::WaitOp::create(b, b.getI64Type(), countFlags, word, peer,
                                    countEpoch())
                   .getSeen();
  Value isThere = b.cmp(Pred::uge, seen, countEpoch());
  Value rows = b.sub(seen, countEpoch());
  Value isCount =
      b.both(isThere, b.cmp(Pred::ule, rows,
                            b.i64(static_cast<int64_t>(op.getTokenBound()))));
  rows = arith::TruncIOp::create(b, b.getI32Type(), rows);
  b.store(b.select(isCount, rows, b.i32(-1)), all, {peer, key});
  scf::YieldOp::create(b, b.both(own.getRegionIterArg(0), isThere));
  haveArrived = own.getResult(0);
}
