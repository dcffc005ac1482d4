//===- ExpertLists.cpp - rows of each expert, in a kernel -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpertLists.h"

using namespace mlir;
using namespace mlir::moe;

/// Steps of 32 rows for one expert up to which each subgroup counts all rows
/// for its experts: more take longer than to meet the other blocks.
static constexpr int64_t kReplicatedSteps = 8;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

int64_t ExpertLists::partsPerBlock() {
  int64_t rows = llvm::divideCeil(capacity, b.maxBlocks());
  int64_t steps = llvm::divideCeil(rows, kSubgroupSize);
  return std::max<int64_t>(std::min(b.numSubgroups() / numExperts(), steps), 1);
}

bool ExpertLists::isReplicated() {
  int64_t steps = llvm::divideCeil(capacity, kSubgroupSize);
  return steps * llvm::divideCeil(numExperts(), b.numSubgroups()) <=
         kReplicatedSteps;
}

int64_t ExpertLists::numTableEntries() {
  int64_t entries = numExperts() * (partsPerBlock() + 2) + 1;
  return isSlab() ? entries + b.numRanks() : entries;
}

void ExpertLists::allocate(bool meetsBefore) {
  if (meetsBefore || !isReplicated())
    barrierCounter = b.counters(1);
  if (!isReplicated())
    partCounts = b.scratch({numExperts(), b.maxBlocks() * partsPerBlock()},
                           b.getI32Type());
  if (numSharedEntries() > 0)
    return;
  startScratch = scratchTable(numExperts() * partsPerBlock());
  totalScratch = scratchTable(numExperts());
  offsetScratch = scratchTable(numExperts() + 1);
  if (isSlab())
    beginScratch = scratchTable(b.numRanks());
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

Value ExpertLists::meet() {
  return symm::GridBarrierOp::create(b, b.getI1Type(), barrierCounter).getMet();
}

void ExpertLists::build(Value areThere) {
  starts = makeTable(numExperts() * partsPerBlock(), startScratch);
  totals = makeTable(numExperts(), totalScratch);
  offsets = makeTable(numExperts() + 1, offsetScratch);
  length =
      b.select(areThere, b.index(op.getListLength(b.numRanks())), b.index(0));
  countReceived(areThere);
  count();
  if (!isReplicated()) {
    Value haveMet = meet();
    numItems = b.select(haveMet, numItems, b.index(0));
    length = b.select(haveMet, length, b.index(0));
    addUpParts();
  }
  b.syncBlock();
  placeGroups();
  b.syncBlock();
  writeEntries();
  fillGaps();
}

/// After an error counts may be anything: no rows are looked at that are not in
/// the buffers.
void ExpertLists::countReceived(Value areThere) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  Value bound = b.index(op.getTokenBound());
  if (isSlab())
    begins = makeTable(b.numRanks(), beginScratch);
  Value isFirst = b.cmp(Pred::eq, b.subgroup(), zero);
  Value rows = b.scanInLanes(
      zero, ranks, zero,
      [&](Value sender) -> Value {
        Value rows =
            b.loadIndex(op.getOutput(Output::TokensFromRank), {sender});
        rows = arith::MaxSIOp::create(b, rows, zero);
        return arith::MinSIOp::create(b, rows, bound);
      },
      [&](Value sender, Value before, Value) {
        if (isSlab())
          b.ifThen(isFirst, [&] { storeEntry(before, begins, sender); });
      });
  // Rows past the capacity were dropped (dispatch_s9).
  rows = arith::MinSIOp::create(b, rows, b.index(capacity));
  numItems = b.select(areThere, rows, zero);
  if (isSlab())
    b.syncBlock();
}

Value ExpertLists::firstOfPart(Value part) {
  Value parts = b.mul(b.numBlocks(), b.index(partsPerBlock()));
  return arith::DivUIOp::create(b, b.mul(numItems, part), parts);
}

void ExpertLists::forItems(llvm::function_ref<void(const Item &)> body) {
  Value parts = b.index(partsPerBlock());
  b.forSubgroups(b.index(0), b.index(numExperts() * partsPerBlock()),
                 [&](Value number) {
                   Value expert = arith::DivUIOp::create(b, number, parts);
                   Value own = arith::RemUIOp::create(b, number, parts);
                   Value part = b.add(b.mul(b.block(), parts), own);
                   Value next = b.add(part, b.index(1));
                   body({number, expert, part, b.cmp(Pred::eq, own, b.index(0)),
                         firstOfPart(part), firstOfPart(next)});
                 });
}

/// The sender is the last one that begins at the item or before it: a search by
/// halves.
Value ExpertLists::rowAt(Value item) {
  if (!isSlab())
    return item;
  int64_t ranks = b.numRanks();
  Value sender = b.index(0);
  for (int64_t step = llvm::bit_ceil<uint64_t>(ranks) / 2; step > 0;
       step /= 2) {
    Value next = b.add(sender, b.index(step));
    Value isRank = b.cmp(Pred::ult, next, b.index(ranks));
    Value begin = loadEntry(begins, b.select(isRank, next, b.index(0)));
    Value isIt = b.both(isRank, b.cmp(Pred::ule, begin, item));
    sender = b.select(isIt, next, sender);
  }
  Value first = b.mul(sender, b.index(op.getTokenBound()));
  return b.add(first, b.sub(item, loadEntry(begins, sender)));
}

/// Entries of experts of other ranks are -1 (dispatch_s2), and so an expert
/// that this rank does not own, since only larger ranks have so many, has none.
Value ExpertLists::numberRows(
    Value expert, Value first, Value last, Value init,
    llvm::function_ref<void(Value, Value, Value)> emit) {
  Value wanted = b.add(b.firstExpert(b.me(), placement), expert);
  Value row;
  return numberInLanes(
      first, last, init,
      [&](Value item) {
        row = rowAt(item);
        return findExpert(op.getOutput(Output::RecvTopkIdx), row,
                          b.cmp(Pred::ult, item, last), wanted);
      },
      [&](Value, Value slot, Value number) {
        if (emit)
          emit(row, slot, number);
      });
}

/// A subgroup for an expert and a part, a lane for a row.
void ExpertLists::count() {
  Value zero = b.index(0);
  forItems([&](const Item &item) {
    if (!isReplicated()) {
      Value rows = numberRows(item.expert, item.first, item.last, zero);
      return b.onFirstLane(
          [&] { b.storeIndex(rows, partCounts, {item.expert, item.part}); });
    }
    Value lower = numberRows(item.expert, zero, item.first, zero);
    Value total = numberRows(item.expert, item.first, numItems, lower);
    storeCounts(item, lower, total);
  });
}

void ExpertLists::storeCounts(const Item &item, Value lower, Value total) {
  b.onFirstLane([&] {
    storeEntry(lower, starts, item.number);
    b.ifThen(item.isFirst, [&] { storeEntry(total, totals, item.expert); });
  });
}

/// The number of loads is known, so that none waits for the one before it.
void ExpertLists::addUpParts() {
  Value zero = b.index(0);
  Value parts = b.mul(b.numBlocks(), b.index(partsPerBlock()));
  int64_t steps =
      llvm::divideCeil(b.maxBlocks() * partsPerBlock(), kSubgroupSize);
  forItems([&](const Item &item) {
    SmallVector<Value> sums =
        b.reduce(zero, b.index(steps), {zero, zero},
                 [&](Value step, ValueRange carried) -> SmallVector<Value> {
                   Value part =
                       b.add(b.mul(step, b.index(kSubgroupSize)), b.lane());
                   Value isPart = b.cmp(Pred::ult, part, parts);
                   Value place = b.select(isPart, part, zero);
                   Value rows = b.loadIndex(partCounts, {item.expert, place});
                   rows = b.select(isPart, rows, zero);
                   Value isLower = b.cmp(Pred::ult, part, item.part);
                   return {b.add(carried[0], b.select(isLower, rows, zero)),
                           b.add(carried[1], rows)};
                 });
    storeCounts(item, b.sumOverLanes(sums[0]), b.sumOverLanes(sums[1]));
  });
}

/// Each group takes up its rows, rounded up (dispatch_s14).
void ExpertLists::placeGroups() {
  Value zero = b.index(0), experts = b.index(numExperts());
  b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
    Value end = b.scanInLanes(
        zero, experts, zero,
        [&](Value expert) {
          return b.alignUp(loadEntry(totals, expert), *op.getListAlignment());
        },
        [&](Value expert, Value before, Value) {
          storeEntry(before, offsets, expert);
          b.onFirstBlock([&] {
            b.storeIndex(before, op.getOutput(Output::ExpertOffsets), {expert});
            b.storeIndex(loadEntry(totals, expert),
                         op.getOutput(Output::ExpertCounts), {expert});
          });
        });
    b.onFirstLane([&] { storeEntry(end, offsets, experts); });
  });
}

/// After an error rows may still come, and more of them have an expert than
/// were counted: no entry is written past the lists.
void ExpertLists::writeEntries() {
  forItems([&](const Item &item) {
    Value begin =
        b.add(loadEntry(offsets, item.expert), loadEntry(starts, item.number));
    numberRows(item.expert, item.first, item.last, begin,
               [&](Value row, Value slot, Value place) {
                 b.ifThen(b.cmp(Pred::ult, place, length), [&] {
                   b.storeIndex(row, op.getOutput(Output::ListRows), {place});
                   Value weight = b.load(op.getOutput(Output::RecvTopkWeights),
                                         {row, slot});
                   b.store(weight, op.getOutput(Output::ListWeights), {place});
                 });
               });
  });
}

/// What lies between groups is shorter than the alignment, and a subgroup fills
/// it. All threads share what lies behind the last one.
void ExpertLists::fillGaps() {
  Value zero = b.index(0), one = b.index(1);
  auto clamp = [&](Value place) -> Value {
    place = arith::MaxSIOp::create(b, place, zero);
    return arith::MinSIOp::create(b, place, length);
  };
  if (*op.getListAlignment() > 1) {
    KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
    b.step(own.item, b.index(numExperts()), own.begun, [&](Value expert) {
      Value end = b.add(loadEntry(offsets, expert), loadEntry(totals, expert));
      Value next = loadEntry(offsets, b.add(expert, one));
      b.step(b.add(clamp(end), b.lane()), clamp(next), b.index(kSubgroupSize),
             [&](Value place) { storeNone(place); });
    });
  }
  Value threads = b.index(b.launchShape().threads);
  Value thread = b.add(b.mul(b.block(), threads), b.thread());
  Value end = clamp(loadEntry(offsets, b.index(numExperts())));
  b.step(b.add(end, thread), length, b.mul(b.numBlocks(), threads),
         [&](Value place) { storeNone(place); });
}

void ExpertLists::storeNone(Value place) {
  Value zero = arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  b.store(b.i32(-1), op.getOutput(Output::ListRows), {place});
  b.store(zero, op.getOutput(Output::ListWeights), {place});
}
