//===- CombineKernel.cpp - lower moe.combine to a kernel ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CombineKernel.h"

#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

void moe::lowerCombineToKernel(CombineOp op, KernelBuilder &b) {
  CombineKernel(op, b).lower();
}

CombineKernel::CombineKernel(CombineOp op, KernelBuilder &b)
    : CombineSum(op, b) {
  if (!isPush())
    return;
  if (op.isExpertMajor()) {
    // What is added up here are the sums of ranks.
    partials.emplace(op, b);
    terms.from = partialElement();
    terms.most = std::min<int64_t>(op.getNumSlots(), b.numRanks());
    terms.areFewer = true;
    terms.haveWeights = terms.areByRank = false;
  }
  puts = choosePutShape();
  isOneRound = puts.isOneRound;
  if (partials)
    partials->setShape(puts);
  // Then rows of this rank stay where they are.
  if (isOneRound)
    terms.most = std::min<int64_t>(op.getNumSlots(),
                                   std::max<int64_t>(b.numRanks() - 1, 1));
}

void CombineKernel::lower() {
  b.phase("prepare");
  Value rows = prepare();
  Value runs = b.runCounters();
  ready = b.handshakeFlags();
  // A push has the round of signals in any case: then no row is on its way to a
  // slot any more, whatever the ranks have told one another.
  Value released = op.getDeferRelease() && !isPush() ? Value() : b.blockFlags();
  source = op.getY();
  sourceWeights = op.getWeights();
  if (isPush())
    makeSlots();
  if (needsTickets() && !isOneRound)
    tickets = b.ticketCounters();
  b.launch(numStageBytes(), [&] {
    epoch = b.beginRun(runs);
    if (released)
      b.trackErrors();
    b.phase("ready");
    b.onFirstBlock([&] {
      b.forPeersAside([&](Value peer) {
        symm::SignalOp::create(b, ready, b.me(), peer, epoch);
      });
    });
    // Before the first rows are looked up.
    if (released)
      b.syncBlock();
    if (partials) {
      b.phase("ask");
      partials->ask(numTokens, epoch);
    }
    if (isPush())
      putAndReduce();
    else
      reduce();

    b.phase("release");
    if (tickets)
      b.resetTickets(tickets, epoch);
    if (putTickets)
      b.resetTickets(putTickets, epoch);
    if (released) {
      b.signalFromBlock(released, epoch);
      b.endRun(runs, epoch);
      b.waitForBlocks(released, epoch);
    } else {
      // All threads of the block have met since they began.
      b.endRun(runs, epoch);
    }
  });
  b.copyBack(rows, op.getOut());
}

/// After a wait in vain the sums are of whatever is there: they stay on this
/// rank, which has an error.
void CombineKernel::waitForRows() {
  b.phase("ready");
  b.noteError(b.waitForPeers(ready, epoch));
  b.syncBlock();
}
