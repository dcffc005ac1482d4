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

/// Keys whose numbers fit the shared memory of a block.
static constexpr int64_t kMaxSharedKeys = 2048;

void moe::lowerDispatchToKernel(DispatchOp op, KernelBuilder &b) {
  DispatchKernel(op, b).lower();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void DispatchKernel::allocate() {
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  epochCounter = b.persistent({1}, i64);
  doneCounter = b.persistent({1}, i64);
  arrived = b.flags();
  done = b.flags();
  if (op.isReuse())
    return;

  auto rowType = cast<MemRefType>(op.getOutput(Output::SendRow).getType());
  SmallVector<Value> dynamicSizes;
  if (rowType.isDynamicDim(0))
    dynamicSizes.push_back(numTokens);
  if (!sharesRowNumbers())
    rowNumber = b.scratch(rowType.getShape(), i32, dynamicSizes);
  int64_t blocks = b.maxBlocks();
  if (!isReplicated()) {
    barrierCounter = b.persistent({1}, i64);
    blockCounts = b.scratch({numKeys(), blocks}, i32);
    counts = b.scratch({1, numKeys()}, i32);
  }
  if (keyIsExpert())
    allocateRouting();
  if (numKeys() > kMaxSharedKeys) {
    startScratch = b.scratch({blocks, numKeys()}, i32);
    if (keyIsExpert()) {
      groupScratch = b.scratch({blocks, numKeys()}, i32);
      groupRowsScratch = b.scratch({blocks, numKeys()}, i32);
    }
  }
  if (isSlab()) {
    slabCounts = b.persistent({b.numRanks()}, i32);
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
    epoch = b.add(b.load(epochCounter, b.index(0)), b.i64(1));
    if (op.isReuse() || isSlab()) {
      // This rank is done with the rows of its last run.
      b.phase("ready");
      b.onFirstBlock([&] {
        b.forPeers([&](Value peer) {
          symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
        });
      });
    }
    if (!op.isReuse()) {
      start = keyTable(numKeys(), startScratch);
      b.phase("count");
      count();
      b.phase("exchange");
      publishCounts();
    }
    b.forThreads(b.index(b.numRanks()), [&](Value peer) {
      symm::WaitOp::create(b, arrived, peer, peer, epoch);
    });
    b.syncBlock();
    if (!op.isReuse()) {
      b.phase("place");
      place();
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

/// The last block to get here tells all ranks that their rows are there and
/// waits for those of this rank.
void DispatchKernel::complete() {
  Value zero = b.index(0);
  Value last = symm::GridArriveOp::create(b, b.getI1Type(), doneCounter);
  b.ifThen(last, [&] {
    b.forPeers([&](Value peer) {
      symm::SignalOp::create(b, done, b.me(), peer, epoch);
      symm::WaitOp::create(b, done, peer, peer, epoch);
      if (slabCounts)
        b.store(b.load(slabCounts, {peer}),
                op.getOutput(Output::TokensFromRank), {peer});
    });
    b.onThread(zero, [&] { b.store(epoch, epochCounter, {zero}); });
  });
}
