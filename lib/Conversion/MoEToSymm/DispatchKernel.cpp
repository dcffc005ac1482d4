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
/// Entries of all tables of a dispatch by rank, likewise.
static constexpr int64_t kMaxSharedEntries = 12000;
static constexpr int64_t kMaxEntriesBesideStages = 4096;

void moe::lowerDispatchToKernel(DispatchOp op, KernelBuilder &b) {
  DispatchKernel(op, b).lower();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void DispatchKernel::allocate() {
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  runs = b.runCounters();
  arrived = b.handshakeFlags();
  done = b.blockFlags();
  if (sharesOutTokens())
    tickets = b.ticketCounters();
  if (op.isReuse()) {
    if (padding) {
      padding->allocateRuns();
      barrierCounter = b.persistent({1}, i64);
    }
    return;
  }

  auto rowType = cast<MemRefType>(op.getOutput(Output::SendRow).getType());
  SmallVector<Value> dynamicSizes;
  if (rowType.isDynamicDim(0))
    dynamicSizes.push_back(numTokens);
  if (countsInChunks()) {
    if (postsMasks())
      posted = b.persistent({numChunkKeys() * numChunks()}, i64);
    int64_t entries = (2 * numChunks() + 1) * numChunkKeys() + 2 * b.numRanks();
    if (entries >
        (movesInBulk() ? kMaxEntriesBesideStages : kMaxSharedEntries)) {
      maskScratch = scratchTable({numChunks(), numChunkKeys()});
      chunkScratch = scratchTable({numChunks() + 1, numChunkKeys()});
    }
  } else if (!marksTokens()) {
    rowNumber = b.scratch(rowType.getShape(), i32, dynamicSizes);
    barrierCounter = b.persistent({1}, i64);
    blockCounts = b.scratch({numKeys(), b.maxBlocks()}, i32);
    counts = b.scratch({1, numKeys()}, i32);
  }
  if (keyIsExpert())
    allocateRouting();
  bool isLarge =
      numKeys() > (movesInBulk() ? kMaxKeysBesideStages : kMaxSharedKeys);
  if (!isSlab() && (isLarge || sharesStarts()))
    startScratch = scratchTable(numKeys());
  if (isLarge && keyIsExpert()) {
    groupScratch = scratchTable(numKeys());
    groupRowsScratch = scratchTable(numKeys());
  }
  if (isSlab()) {
    slabCounts = b.flags();
    return;
  }
  all = b.persistent({b.numRanks(), numExchanged()}, i32);
}

Value DispatchKernel::scratchTable(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> perBlock = {b.maxBlocks()};
  llvm::append_range(perBlock, shape);
  return b.scratch(perBlock, b.getI32Type());
}

DispatchKernel::Table DispatchKernel::makeTable(ArrayRef<int64_t> shape,
                                                Value scratch) {
  if (scratch)
    return {scratch, b.block()};
  return {b.workgroup(shape, b.getI32Type()), Value()};
}

SmallVector<Value> DispatchKernel::indicesOf(const Table &table,
                                             ValueRange entry) {
  SmallVector<Value> indices;
  if (table.block)
    indices.push_back(table.block);
  llvm::append_range(indices, entry);
  return indices;
}

Value DispatchKernel::loadEntry(const Table &table, ValueRange entry) {
  return b.loadIndex(table.buffer, indicesOf(table, entry));
}

void DispatchKernel::storeEntry(Value value, const Table &table,
                                ValueRange entry) {
  b.storeIndex(value, table.buffer, indicesOf(table, entry));
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void DispatchKernel::lower() {
  b.phase("prepare");
  prepare();
  if (op.hasZeroPadding())
    padding.emplace(op, b);
  allocate();
  b.launch(movesInBulk() ? numCopiers() * copierBytes() : 0, [&] {
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
    }
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
  conditions.push_back(condition);
  end = b.select(condition, end, first);
  tokensToPut = b.select(condition, tokensToPut, b.index(0));
}

/// Each block tells all ranks that its rows are there and waits for its share
/// of the rows of this rank. Meanwhile it fills empty ones, where counts tell
/// which these are.
void DispatchKernel::complete() {
  b.signalFromBlock(done, epoch);
  b.endRun(runs, epoch);
  if (tickets)
    b.resetTickets(tickets, epoch);
  if (slabCounts)
    receiveSlabCounts();
  if (padding && !op.isReuse())
    pad();
  b.waitForBlocks(done, epoch);
  if (padding && op.isReuse())
    padByRuns();
}
