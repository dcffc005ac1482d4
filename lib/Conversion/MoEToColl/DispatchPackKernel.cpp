//===- DispatchPackKernel.cpp - rows of a dispatch, packed ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchPackKernel.h"

using namespace mlir;
using namespace mlir::moe;

int64_t DispatchPackKernel::rowsPerToken() {
  int64_t most = op.isExpertMajor() ? topK : b.numRanks();
  // Of the rows that `reuse` places it is not known of how many experts they
  // are.
  return std::min(most, op.isReuse() ? kMaxTopK : topK);
}

int64_t DispatchPackKernel::rowLimit() {
  return messages.pairRows() ? messages.numPaddedRows()
                             : op.getTokenBound() * rowsPerToken();
}

Value DispatchPackKernel::numOutboxRows() {
  return messages.pairRows() ? b.index(messages.numPaddedRows())
                             : b.mul(numTokens, b.index(rowsPerToken()));
}

void DispatchPackKernel::allocateOutbox(Value numRows) {
  for (Output kind : {Output::RecvX, Output::RecvScales, Output::RecvTopkIdx,
                      Output::RecvTopkWeights, Output::RecvSrcIdx})
    if (Value buffer = op.getOutput(kind))
      outbox[kind] = messages.rowsLike(buffer, numRows);
}

void DispatchPackKernel::launch(llvm::function_ref<void()> body) {
  b.launch(movesInBulk() ? numCopiers() * copierBytes() : 0, [&] {
    epoch = messages.firstEpoch();
    std::tie(first, end) = b.blockRange(numTokens);
    tokensToPut = numTokens;
    body();
    b.phase("pack");
    putRows();
  });
}

Value DispatchPackKernel::countAndPack() {
  allocateNumbering();
  sentCounts = b.scratch({1, numExchanged()}, b.getI32Type());
  launch([&] {
    start = makeTable(numKeys(), startScratch);
    b.phase("count");
    count();
    b.syncBlock();
    storeCounts();
    placeInOutbox();
    if (sharesStarts())
      meetBlocks();
  });
  return sentCounts;
}

/// A rank that has found an error says so in place of its counts.
void DispatchPackKernel::storeCounts() {
  noteStatus();
  b.onFirstBlock([&] {
    storeTotals();
    b.syncBlock();
    Value failed = hasFailed();
    b.forThreads(b.index(numExchanged()), [&](Value key) {
      Value rows = op.isExpertMajor() || !keyIsExpert()
                       ? b.fromIndex(totalOf(key), b.getI32Type())
                       : b.load(op.getOutput(Output::TokensToRank), {key});
      b.store(b.select(failed, b.i32(-1), rows), sentCounts, {b.index(0), key});
    });
  });
}

/// The rows of smaller keys come first, then those of lower blocks.
void DispatchPackKernel::placeInOutbox() {
  Value zero = b.index(0), keys = b.index(numKeys());
  bool isCountedByBlocks = !countsInChunks() && !marksTokens();
  Table rows;
  if (isCountedByBlocks) {
    rows = makeTable(numKeys(), groupRowsScratch);
    b.forSubgroups(zero, keys, [&](Value key) {
      Value lower = countOfBlocks(key, b.block());
      Value total = countOfBlocks(key, b.numBlocks());
      b.onFirstLane([&] {
        storeEntry(lower, start, key);
        storeEntry(total, rows, key);
      });
    });
    b.syncBlock();
  }
  auto rowsOf = [&](Value key) {
    return isCountedByBlocks ? loadEntry(rows, key) : totalOf(key);
  };
  auto emit = [&](Value key, Value before, Value) {
    Value row =
        isCountedByBlocks ? b.add(before, loadEntry(start, key)) : before;
    storeEntry(row, start, key);
  };
  if (messages.pairRows())
    messages.layOutPadded([&](Value rank) { return keysOf(rank); }, rowsOf,
                          emit);
  else
    messages.layOut(keys, rowsOf, emit);
  b.syncBlock();
}

std::pair<Value, Value> DispatchPackKernel::keysOf(Value rank) {
  if (keyIsExpert())
    return expertsOf(rank);
  return {rank, b.add(rank, b.index(1))};
}

//===----------------------------------------------------------------------===//
// Reuse
//===----------------------------------------------------------------------===//

Value DispatchPackKernel::cover(KernelBlocks &blocks) {
  Value sendRow = op.getReuse().front(), slots = b.index(numSlots());
  if (!op.isExpertMajor())
    return blocks.cover(numTokens, [&](Value token, Value key) {
      return b.checkedSendRow(b.loadIndex(sendRow, {token, key}), capacity,
                              token, key);
    });
  return blocks.cover(b.mul(numTokens, slots), [&](Value i, Value key) {
    Value token = arith::DivUIOp::create(b, i, slots);
    Value slot = arith::RemUIOp::create(b, i, slots);
    Value row = b.checkedSendRow(b.loadIndex(sendRow, {token, slot}), capacity,
                                 token, slot);
    Value expert = b.loadIndex(op.getRoutingTopkIdx(), {token, slot});
    return b.select(b.cmp(Pred::eq, expert, key), row, b.index(-1));
  });
}

void DispatchPackKernel::packReused(KernelBlocks &blocks,
                                    KernelBlocks::Exchanged &known) {
  reusedBlocks = &blocks;
  reused = &known;
  allocateNumbering();
  // Between the first and the last row of a block, `send_row` may leave some
  // out: they are empty (dispatch_s12).
  if (op.hasZeroPadding())
    for (auto [kind, buffer] : outbox) {
      Type element = cast<MemRefType>(buffer.getType()).getElementType();
      Value zero =
          arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(element)));
      linalg::FillOp::create(b, zero, buffer);
    }
  launch([] {});
}

void DispatchPackKernel::padReused(KernelBlocks &blocks, Value theirs) {
  Value marks = b.scratch({capacity}, b.getI8Type());
  b.fill(marks, 0);
  Value isSent = b.integer(b.getI8Type(), 1);
  b.launch(/*stageBytes=*/0, [&] {
    KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
    b.step(own.item, b.index(blocks.numBlocks()), own.begun, [&](Value block) {
      auto [first, rows] = blocks.rowsOf(theirs, block);
      b.step(b.lane(), rows, b.index(kSubgroupSize),
             [&, first = first](Value row) {
               b.store(isSent, marks, {b.add(first, row)});
             });
    });
  });
  padding.emplace(op, b);
  padding->setRuns(marks);
  b.launch(/*stageBytes=*/0, [&] {
    KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
    b.step(own.item, b.index(capacity), own.begun, [&](Value row) {
      b.ifThen(padding->isEmpty(row, isSent), [&] { padRow(row); });
    });
  });
}

Value DispatchPackKernel::placeOfReused(Value row, Value key) {
  return reusedBlocks->rowInBox(*reused, row, key);
}
