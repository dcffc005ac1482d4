//===- DispatchLowering.cpp - lower moe.dispatch --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A dispatch as the work of one thread: the schedule for CPUs.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/DispatchPadding.h"
#include "../MoEProtocols/SerialDispatch.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

class DispatchLowering : public SerialDispatch {
public:
  using SerialDispatch::SerialDispatch;

  void lower();

private:
  void exchangeAndPlace();
  void putRow(const RowPlace &place);
  void complete();

  std::optional<DispatchPadding> padding;
};

} // namespace

void moe::lowerDispatch(DispatchOp op, ProtocolBuilder &b) {
  DispatchLowering(op, b).lower();
}

void DispatchLowering::lower() {
  auto putRow = [&](const RowPlace &place) { this->putRow(place); };
  b.phase(op.isReuse() ? "ready" : "route");
  prepare();
  if (op.hasZeroPadding())
    padding.emplace(op, b);
  if (op.isReuse()) {
    if (padding)
      padding->allocateRuns();
    b.barrier();
    b.phase("put");
    forEachReusedRow(/*isChecked=*/false, putRow);
  } else {
    route();
    b.phase("count");
    count();
    exchangeAndPlace();
    b.phase("put");
    forEachRow(putRow);
  }
  clearBlocks(op, b);
  b.phase("complete");
  complete();
  if (op.hasLists())
    listRows();
}

void DispatchLowering::exchangeAndPlace() {
  if (isSlab()) {
    // Every sender has a slab of its own: no counts are needed, only the
    // certainty that the receivers are done with their rows of the last run.
    b.phase("ready");
    b.barrier();
    return placeInSlabs();
  }
  b.phase("exchange");
  Value all = exchangeCounts();
  b.phase("place");
  place(all);
}

/// One row with everything that travels with it.
void DispatchLowering::putRow(const RowPlace &place) {
  auto [token, slot, peer, key, row] = place;
  symm::PutOp::create(b, x, token, op.getOutput(Output::RecvX), row, peer,
                      /*count=*/Value());
  if (scales)
    symm::PutOp::create(b, scales, token, op.getOutput(Output::RecvScales), row,
                        peer, /*count=*/Value());
  if (!op.isReuse())
    putMetadata(token, slot, peer, row);
  else if (padding)
    padding->noteRow(peer, row, b.epoch());
}

/// Tells every rank that its rows are there and waits for those of this rank.
/// What counts tell of empty rows is done before the wait.
void DispatchLowering::complete() {
  Value done = b.flags();
  if (op.isReuse() || !isSlab()) {
    b.signalAll(done);
    if (padding && !op.isReuse()) {
      padding->fillByCounts();
      b.phase("complete");
    }
    b.waitAll(done);
    if (padding && op.isReuse())
      padding->fillByRuns(b.epoch());
    return;
  }
  // The counts of a slab travel last.
  Value received = b.symmetric({b.numRanks()}, b.getI32Type());
  Value epoch = b.epoch();
  b.forEachPeer([&](Value peer) {
    Value there = symm::PeerOp::create(b, received, peer);
    b.store(b.load(counts, {b.index(0), peer}), there, {b.me()});
    symm::SignalOp::create(b, done, b.me(), peer, epoch);
  });
  b.waitAll(done);
  b.loop(b.numRanks(), [&](Value sender) {
    b.store(b.load(received, {sender}), op.getOutput(Output::TokensFromRank),
            {sender});
  });
  if (padding)
    padding->fillByCounts();
}
