//===- DispatchKernel.cpp - lower moe.dispatch to a kernel ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// Keys whose numbers fit the shared memory of a block, by itself and beside
/// stages (three tables).
static constexpr int64_t kMaxSharedKeys = 2048;
static constexpr int64_t kMaxKeysBesideStages = 1024;

void moe::lowerDispatchToKernel(DispatchOp op, KernelBuilder &b) {
  DispatchKernel(op, b).lower();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void DispatchKernel::allocate() {
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  runs = b.runCounters();
  arrived = b.flags();
  done = b.blockFlags();
  if (sharesOutTokens())
    tickets = b.ticketCounters();
  if (op.isReuse())
    return;

  auto rowType = cast<MemRefType>(op.getOutput(Output::SendRow).getType());
  SmallVector<Value> dynamicSizes;
  if (rowType.isDynamicDim(0))
    dynamicSizes.push_back(numTokens);
  int64_t blocks = b.maxBlocks();
  if (countsInChunks()) {
    if (postsMasks())
      posted = b.persistent({numChunkKeys() * numChunks()}, i64);
  } else if (!marksTokens()) {
    rowNumber = b.scratch(rowType.getShape(), i32, dynamicSizes);
    barrierCounter = b.persistent({1}, i64);
    blockCounts = b.scratch({numKeys(), blocks}, i32);
    counts = b.scratch({1, numKeys()}, i32);
  }
  if (keyIsExpert())
    allocateRouting();
  bool isLarge =
      numKeys() > (movesInBulk() ? kMaxKeysBesideStages : kMaxSharedKeys);
  if (isLarge || sharesStarts())
    startScratch = b.scratch({blocks, numKeys()}, i32);
  if (isLarge) {
    if (keyIsExpert()) {
      groupScratch = b.scratch({blocks, numKeys()}, i32);
      groupRowsScratch = b.scratch({blocks, numKeys()}, i32);
    }
  }
  if (isSlab()) {
    slabCounts = b.flags();
    return;
  }
  all = b.persistent({b.numRanks(), numExchanged()}, i32);
}

DispatchKernel::KeyTable DispatchKernel::keyTable(int64_t keys, Value scratch) {
  if (scratch)
    return {scratch, b.block()};
  return {b.workgroup({keys}, b.getI32Type()), Value()};
}

Value DispatchKernel::loadKey(const KeyTable &table, Value key) {
  if (table.block)
    return b.loadIndex(table.buffer, {table.block, key});
  return b.loadIndex(table.buffer, {key});
}

void DispatchKernel::storeKey(Value value, const KeyTable &table, Value key) {
  if (table.block)
    return b.storeIndex(value, table.buffer, {table.block, key});
  b.storeIndex(value, table.buffer, {key});
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void DispatchKernel::lower() {
  b.phase("prepare");
  prepare();
  allocate();
  b.launch(movesInBulk() ? numCopiers() * copierBytes() : 0, [&] {
    std::tie(first, end) = b.blockRange(numTokens);
    tokensToPut = numTokens;
    epoch = b.beginRun(runs);
    b.trackErrors();
    // Rows have a place as soon as all ranks are done with those of their last
    // run. Otherwise their counts tell that.
    bool isFree = op.isReuse() || isSlab();
    if (isFree) {
      b.phase("ready");
      // What earlier kernels of this rank did is complete: there is nothing to
      // publish.
      b.onFirstBlock([&] {
        b.forPeersAside([&](Value peer) {
          symm::SignalOp::create(b, arrived, b.me(), peer, epoch,
                                 /*relaxed=*/true);
        });
      });
      if (!postsMasks())
        waitForRanks();
    }
    if (!op.isReuse()) {
      if (!isFixedStart())
        start = keyTable(numKeys(), startScratch);
      b.phase("count");
      count();
      b.phase("exchange");
      publishCounts();
    }
    if (!isFree)
      waitForRanks();
    haveArrived = b.syncBlockAll(haveArrived);
    b.noteError(haveArrived);
    leaveTokensUnless(haveArrived);
    if (slabCounts)
      sendSlabCounts();
    if (!op.isReuse() && !isFixedStart()) {
      b.phase("place");
      place();
      if (sharesStarts())
        meetBlocks();
    }
    b.phase("put");
    if (movesInBulk())
      putTokensInBulk();
    else
      putTokens();
    b.phase("complete");
    complete();
  });
}

void DispatchKernel::waitForRanks() {
  haveArrived = b.waitForPeers(arrived, epoch);
}

void DispatchKernel::leaveTokensUnless(Value condition) {
  end = b.select(condition, end, first);
  tokensToPut = b.select(condition, tokensToPut, b.index(0));
}

/// Each block tells all ranks that its rows are there; the first one waits for
/// those of this rank.
void DispatchKernel::complete() {
  b.signalFromBlock(done, epoch);
  b.endRun(runs, epoch);
  if (tickets)
    b.resetTickets(tickets, epoch);
  if (slabCounts)
    receiveSlabCounts();
  b.waitForBlocks(done, epoch);
}
