//===- DispatchPlaceKernel.cpp - places of the rows of a dispatch ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchPlaceKernel.h"

using namespace mlir;
using namespace mlir::moe;

void DispatchPlaceKernel::allocate() {
  if (numExchanged() <= kMaxSharedKeys)
    return;
  startScratch = scratchTable(numExchanged());
  groupScratch = scratchTable(numExchanged());
  groupRowsScratch = scratchTable(numExchanged());
}

Value DispatchPlaceKernel::place() {
  b.phase("place");
  start = makeTable(numExchanged(), startScratch);
  needed = makeTable(b.numRanks(), Value());
  if (op.isExpertMajor())
    placeByExpert();
  else if (isSlab())
    placeInSlabs();
  else
    placeByRank();
  b.syncBlock();
  return checkNeeds();
}

void DispatchPlaceKernel::lower(KernelTables &tables,
                                const KernelBlocks &blocks,
                                const KernelBlocks::Box &inbox) {
  allocate();
  b.launch(/*stageBytes=*/0, [&] {
    place();
    b.onFirstBlock([&] {
      storeTables(tables);
      if (op.isExpertMajor())
        storeInbox(blocks, inbox);
    });
    finishSendRow();
  });
}

void DispatchPlaceKernel::fillEmptyRows() {
  padding.emplace(op, b);
  b.launch(/*stageBytes=*/0, [&] {
    Value areFine = place();
    b.phase("pad");
    pad(areFine);
  });
}

void DispatchPlaceKernel::placeInSlabs() {
  Value bound = b.index(op.getTokenBound());
  slabRows = b.workgroup({b.numRanks()}, b.getI32Type());
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    storeEntry(b.index(0), needed, peer);
    storeEntry(b.mul(b.me(), bound), start, peer);
    b.store(b.load(all, {peer, b.me()}), slabRows, {peer});
  });
  noteTokensFromRanks();
}

/// What lies past the capacity is left out, on both sides (dispatch_s9). With
/// expert_major the receiver leaves it out.
Value DispatchPlaceKernel::keptOf(Value start, Value rows) {
  if (op.getOverflow() != Overflow::drop || isSlab() || op.isExpertMajor())
    return rows;
  Value room = b.sub(b.index(capacity), start);
  room = arith::MaxSIOp::create(b, room, b.index(0));
  return arith::MinSIOp::create(b, rows, room);
}

Value DispatchPlaceKernel::sumOverExpertsOf(Value sender, Value rank) {
  auto [first, last] = expertsOf(rank);
  return b.reduce(first, last, b.index(0),
                  [&](Value expert, ValueRange sum) -> SmallVector<Value> {
                    return {b.add(sum[0], b.loadIndex(all, {sender, expert}))};
                  })[0];
}

/// A lane per rank.
void DispatchPlaceKernel::storeTables(KernelTables &tables) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  auto rowsBetween = [&](Value sender, Value receiver) {
    return op.isExpertMajor() ? sumOverExpertsOf(sender, receiver)
                              : b.loadIndex(all, {sender, receiver});
  };
  b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
    b.scanInLanes(
        zero, ranks, zero,
        [&](Value peer) { return rowsBetween(b.me(), peer); },
        [&](Value peer, Value before, Value rows) {
          tables.set(KernelTables::SendStart, peer, before);
          if (!op.isExpertMajor())
            rows = keptOf(loadEntry(start, peer), rows);
          tables.set(KernelTables::SendCount, peer, rows);
        });
    Value total = b.scanInLanes(
        zero, ranks, zero,
        [&](Value sender) { return rowsBetween(sender, b.me()); },
        [&](Value sender, Value before, Value rows) {
          Value first =
              isSlab() ? b.mul(sender, b.index(op.getTokenBound())) : before;
          tables.set(KernelTables::RecvStart, sender, first);
          tables.set(KernelTables::RecvCount, sender, keptOf(first, rows));
        });
    b.onFirstLane([&] { tables.setNumRows(KernelTables::RecvStart, total); });
  });
}

/// The blocks that come, in the order of senders and experts, and where they
/// go: behind one another in the group of their expert.
void DispatchPlaceKernel::storeInbox(const KernelBlocks &blocks,
                                     const KernelBlocks::Box &inbox) {
  Value zero = b.index(0), parts = b.index(blocks.numParts());
  Value first, last;
  std::tie(first, last) = expertsOf(b.me());
  Value owned = b.sub(last, first);
  b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
    Value total = b.scanInLanes(
        zero, b.index(blocks.numBlocks()), zero,
        [&](Value block) {
          Value sender = arith::DivUIOp::create(b, block, parts);
          Value part = arith::RemUIOp::create(b, block, parts);
          Value isOwned = b.cmp(Pred::ult, part, owned);
          Value expert = b.select(isOwned, b.add(first, part), zero);
          return b.select(isOwned, b.loadIndex(all, {sender, expert}), zero);
        },
        [&](Value block, Value before, Value) {
          b.storeIndex(before, inbox.begins, {block});
        });
    b.onFirstLane([&] { b.storeIndex(total, inbox.numRows, {zero}); });
  });
  b.forThreads(owned, [&](Value part) {
    Value expert = b.add(first, part);
    b.reduce(zero, b.index(b.numRanks()), loadEntry(groups, expert),
             [&](Value sender, ValueRange row) -> SmallVector<Value> {
               b.storeIndex(row[0], inbox.places,
                            {b.add(b.mul(sender, parts), part)});
               return {b.add(row[0], b.loadIndex(all, {sender, expert}))};
             });
  });
}

/// The rows of a key follow one another in the outbox and on their rank.
void DispatchPlaceKernel::finishSendRow() {
  Value zero = b.index(0), slots = b.index(numSlots());
  b.syncBlock();
  b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
    b.scanInLanes(
        zero, b.index(numExchanged()), zero,
        [&](Value key) { return b.loadIndex(all, {b.me(), key}); },
        [&](Value key, Value before, Value) {
          storeEntry(b.sub(loadEntry(start, key), before), start, key);
        });
  });
  b.syncBlock();
  Value sendRow = op.getOutput(Output::SendRow);
  auto [first, end] = b.blockRange(numTokens);
  b.forThreads(b.mul(b.sub(end, first), slots), [&, first = first](Value i) {
    Value token = b.add(first, arith::DivUIOp::create(b, i, slots));
    Value slot = arith::RemUIOp::create(b, i, slots);
    Value packed = b.loadIndex(sendRow, {token, slot});
    b.ifThen(b.cmp(Pred::sge, packed, zero), [&] {
      Value key = slot;
      if (op.isExpertMajor())
        key = b.loadIndex(op.getTopkIdx(), {token, slot});
      Value row = b.add(packed, loadEntry(start, key));
      Value isKept = b.cmp(Pred::ult, row, b.index(capacity));
      b.storeIndex(b.select(isKept, row, b.index(-1)), sendRow, {token, slot});
    });
  });
}
