//===- DispatchKernel.cpp - lower moe.dispatch to a kernel ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

void moe::lowerDispatchToKernel(DispatchOp op, KernelBuilder &b) {
  DispatchKernel(op, b).lower();
}

void DispatchKernel::allocate() {
  Type i32 = b.getI32Type();
  runs = b.runCounters();
  arrived = b.handshakeFlags();
  done = b.blockFlags();
  allocateNumbering();
  if (expansion)
    expansion->allocate();
  if (lists)
    lists->allocate(/*meetsBefore=*/!b.canWaitForAllBlocks());
  if (op.isReuse()) {
    if (padding) {
      padding->allocateRuns();
      barrierCounter = b.counters(1);
    }
  } else if (isSlab()) {
    slabCounts = b.flags();
  } else if (countsAreFlags()) {
    countFlags = b.persistent({b.numRanks() * numExchanged()}, b.getI64Type());
  } else {
    all = b.persistent({b.numRanks(), numExchanged()}, i32);
  }
}

void DispatchKernel::afterPosting() {
  if (!isSlab())
    return;
  b.phase("ready");
  waitForRanks();
  b.phase("count");
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void DispatchKernel::lower() {
  b.phase("prepare");
  prepare();
  clearBlocks(op, b);
  if (op.hasZeroPadding())
    padding.emplace(op, b);
  if (op.hasLists())
    lists.emplace(op, b);
  if (expandsRows()) {
    expansion.emplace(op, b);
    x = expansion->withSameShares(x);
    if (scales)
      scales = expansion->withSameShares(scales);
  }
  allocate();
  int64_t stageBytes = movesInBulk() ? numCopiers() * copierBytes() : 0;
  if (lists)
    stageBytes = std::max(stageBytes, lists->numStageBytes());
  b.launch(stageBytes, [&] {
    epoch = b.beginRun(runs);
    b.trackErrors();
    // Rows have a place as soon as all ranks are done with those of their last
    // run. Otherwise their counts tell that.
    bool isFree = op.isReuse() || isSlab();
    if (isFree || countsAreFlags()) {
      b.phase("ready");
      // What earlier kernels of this rank did is complete: there is nothing to
      // publish.
      b.onFirstBlock([&] {
        b.forPeersAside([&](Value peer) {
          symm::SignalOp::create(b, arrived, b.me(), peer, epoch,
                                 /*relaxed=*/true);
        });
      });
    }
    if (expansion)
      expansion->sendTokens(numTokens, epoch);
    // Other ranks wait for the signal, and so the divisions come after it.
    std::tie(first, end) = b.blockRange(numTokens);
    tokensToPut = numTokens;
    if (isFree && !postsMasks())
      waitForRanks();
    if (!op.isReuse()) {
      if (!isSlab())
        start = makeTable(numKeys(), startScratch);
      b.phase("count");
      count();
      b.phase("exchange");
      publishCounts();
    }
    if (!isFree)
      waitForRanks();
    if (countFlags)
      receiveCounts();
    if (expansion)
      expansion->receiveTokens(epoch);
    haveArrived = b.syncBlockAll(haveArrived);
    b.noteError(haveArrived);
    leaveTokensUnless(haveArrived);
    if (slabCounts)
      sendSlabCounts();
    if (!op.isReuse() && !isSlab()) {
      b.phase("place");
      place();
      if (sharesStarts())
        meetBlocks();
    }
    b.phase("put");
    putRows();
    if (expansion)
      expandRows();
    b.phase("complete");
    complete();
  });
}

void DispatchKernel::waitForRanks() {
  haveArrived = b.waitForPeers(arrived, epoch);
}

/// Half of the subgroups put rows and then help the others, which copy those
/// that come. With few tokens nothing comes before all have put what they have.
int64_t DispatchKernel::numPutters() {
  if (!expandsRows() || isOneRound())
    return b.numSubgroups();
  int64_t team = b.launchShape().team;
  return std::max(b.numSubgroups() / 2 / team * team, team);
}

void DispatchKernel::putRow(const Put &put) {
  if (!expansion)
    return DispatchRows::putRow(put);
  DispatchExpansion::Places places = expansion->findPlaces(put.row, put.peer);
  Put first = put;
  first.row = places.toPut;
  DispatchRows::putRow(first);
  expansion->announce(put.token, put.member, put.row, places, epoch);
}

void DispatchKernel::expandRows() {
  using Arrival = DispatchExpansion::Arrival;
  b.phase("expand");
  Arrival arrival = Arrival::AtOnce;
  if (!isOneRound())
    arrival = sharesOutTokens() ? Arrival::InOrder : Arrival::ByBlock;
  expansion->expand(areFine(), epoch, arrival);
}

Value DispatchKernel::areFine() {
  Value all = conditions.front();
  for (Value condition : ArrayRef<Value>(conditions).drop_front())
    all = b.both(all, condition);
  return all;
}

/// Each block tells all ranks that its rows are there and waits for its share
/// of the rows of this rank. Meanwhile it fills empty ones, where counts tell
/// which these are.
void DispatchKernel::complete() {
  b.signalFromBlock(done, epoch);
  if (lists)
    b.forgetIds();
  b.endRun(runs, epoch);
  if (tickets)
    b.resetTickets(tickets, epoch);
  if (expansion)
    expansion->endRun(epoch);
  if (slabCounts)
    receiveSlabCounts();
  if (padding && !op.isReuse()) {
    b.phase("pad");
    // After an error there may be no counts.
    pad(areFine());
    b.phase("complete");
  }
  if (lists)
    return listRows();
  b.waitForBlocks(done, epoch);
  if (padding && op.isReuse())
    padByRuns();
}

/// Any block lists any row. Each waits for the blocks of all ranks, or only for
/// those with its numbers, and then meets the other blocks of this rank. What
/// these published happens before their wait, which comes before they meet: so
/// in either way it may read all rows of this rank, and the counts that one of
/// its blocks has stored before it was done. Counts of slabs come later, and so
/// to every block.
void DispatchKernel::listRows() {
  lists->begin();
  Value areThere;
  if (b.canWaitForAllBlocks())
    areThere = b.syncBlockAll(b.waitForAllBlocks(done, epoch));
  else
    b.waitForBlocks(done, epoch);
  b.phase("list");
  if (!areThere)
    areThere = lists->meet();
  lists->build(areThere,
               isSlab() ? slabRows : op.getOutput(Output::TokensFromRank));
}
