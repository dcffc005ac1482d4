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

/// Words of all masks.
static constexpr int64_t kMaxMaskWords = 4096;
/// Words of a mask of all rows, and entries of a tile for a thread: to look at
/// more takes longer than to meet the other blocks.
static constexpr int64_t kMaxReplicatedWords = 32;
static constexpr int64_t kMaxEntries = 8;
/// What a byte counts.
static constexpr int64_t kMaxRowsOfPart = 255;
/// Adders for the same experts: their sums are then added by one thread.
static constexpr int64_t kMaxPartAdders = 16;
/// Experts that a lane adds up without a loop.
static constexpr int64_t kExpertsPerLane = 8;

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

int64_t ExpertLists::numQuads() {
  return llvm::divideCeil(std::min(numExperts(), kMaxMaskWords), 4);
}

bool ExpertLists::isReplicated() {
  int64_t words = llvm::divideCeil(capacity, kSubgroupSize);
  return numRanges() == 1 && words <= kMaxReplicatedWords &&
         words * rangeSize() <= kMaxMaskWords &&
         capacity * topK <= kMaxEntries * b.launchShape().threads;
}

int64_t ExpertLists::numParts() {
  if (isReplicated())
    return b.maxBlocks();
  int64_t rows = kMaxEntries * b.launchShape().threads / topK;
  rows = std::min(rows, kMaxMaskWords / rangeSize() * kSubgroupSize);
  rows = std::clamp<int64_t>(rows, 1, kMaxRowsOfPart);
  int64_t perBlock = llvm::divideCeil(capacity, b.maxBlocks() * rows);
  return b.maxBlocks() * std::max<int64_t>(perBlock, 1);
}

int64_t ExpertLists::rowsPerMask() {
  return isReplicated() ? capacity : llvm::divideCeil(capacity, numParts());
}

int64_t ExpertLists::wordsPerMask() {
  return std::max<int64_t>(llvm::divideCeil(rowsPerMask(), kSubgroupSize), 1);
}

int64_t ExpertLists::entriesPerThread() {
  return llvm::divideCeil(rowsPerMask() * topK, b.launchShape().threads);
}

int64_t ExpertLists::numAdders() {
  int64_t adders = b.launchShape().threads / (numRanges() * numQuads());
  return std::clamp<int64_t>(adders, 1, std::min(kMaxPartAdders, numParts()));
}

int64_t ExpertLists::numPartialSums() {
  if (isReplicated() || numAdders() == 1)
    return 0;
  return 2 * numAdders() * rangeSize();
}

int64_t ExpertLists::numTableEntries() {
  int64_t entries = numPaddedExperts() + numExperts() + 1;
  if (!isReplicated())
    entries += numPaddedExperts();
  return isSlab() ? entries + b.numRanks() : entries;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void ExpertLists::allocate(bool meetsBefore) {
  if (meetsBefore || !isReplicated())
    barrierCounter = b.counters(1);
  if (!isReplicated())
    partCounts =
        b.scratch({numParts(), numRanges() * numQuads()}, b.getI32Type());
  if (numSharedEntries() > 0)
    return;
  if (!isReplicated())
    startScratch = scratchTable(numPaddedExperts());
  totalScratch = scratchTable(numPaddedExperts());
  offsetScratch = scratchTable(numExperts() + 1);
  if (isSlab())
    beginScratch = scratchTable(b.numRanks());
}

void ExpertLists::begin() {
  if (!isReplicated())
    starts = makeTable(numPaddedExperts(), startScratch);
  totals = makeTable(numPaddedExperts(), totalScratch);
  offsets = makeTable(numExperts() + 1, offsetScratch);
  if (isSlab())
    begins = makeTable(b.numRanks(), beginScratch);
  Type i32 = b.getI32Type();
  masks = b.stages({numMaskWords()}, i32, b.index(0));
  if (numPartialSums() > 0)
    partialSums =
        b.stages({numPartialSums()}, i32, b.index(4 * numMaskWords()));
  std::tie(firstPart, endPart) = b.blockRange(b.index(numParts()));
  clearMasks();
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

Value ExpertLists::meet() {
  return symm::GridBarrierOp::create(b, b.getI1Type(), barrierCounter).getMet();
}

/// The first tile of a block comes last when it counts, and first when it
/// writes: so its masks and entries are still there. Only they are needed where
/// a block has one tile.
void ExpertLists::build(Value areThere, Value received) {
  length =
      b.select(areThere, b.index(op.getListLength(b.numRanks())), b.index(0));
  countReceived(areThere, received);
  Value one = b.index(1), ranges = b.index(numRanges());
  Value firstTile = b.mul(firstPart, ranges), endTile = b.mul(endPart, ranges);
  if (!isReplicated())
    b.loop(b.add(firstTile, one), endTile, [&](Value i) {
      Tile tile = tileAt(b.sub(b.add(firstTile, endTile), i));
      markEntries(loadEntries(tile));
      b.syncBlock();
      storeCounts(tile);
      b.syncBlock();
      clearMasks();
      b.syncBlock();
    });
  Tile tile = tileAt(firstTile);
  Entries entries = loadEntries(tile);
  markEntries(entries);
  b.syncBlock();
  if (isReplicated()) {
    addUpAll();
  } else {
    storeCounts(tile);
    Value haveMet = meet();
    numItems = b.select(haveMet, numItems, b.index(0));
    length = b.select(haveMet, length, b.index(0));
    addUpParts();
  }
  b.syncBlock();
  placeGroups();
  b.syncBlock();
  writeEntries(entries);
  if (!isReplicated())
    b.loop(b.add(firstTile, one), endTile, [&](Value next) {
      b.syncBlock();
      passOver(tileAt(b.sub(next, one)));
      b.syncBlock();
      clearMasks();
      b.syncBlock();
      Entries entries = loadEntries(tileAt(next));
      markEntries(entries);
      b.syncBlock();
      writeEntries(entries);
    });
  fillGaps();
}

/// After an error counts may be anything: no rows are looked at that are not in
/// the buffers.
void ExpertLists::countReceived(Value areThere, Value received) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  Value bound = b.index(op.getTokenBound());
  Value isFirst = b.cmp(Pred::eq, b.subgroup(), zero);
  Value rows = b.scanInLanes(
      zero, ranks, zero,
      [&](Value sender) -> Value {
        Value rows = b.loadIndex(received, {sender});
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
  b.syncBlock();
}

Value ExpertLists::firstOfPart(Value part) {
  return arith::DivUIOp::create(b, b.mul(numItems, part), b.index(numParts()));
}

ExpertLists::Tile ExpertLists::tileAt(Value number) {
  if (isReplicated())
    return {Value(), b.index(0), b.index(0), numItems};
  Value ranges = b.index(numRanges());
  Value part = arith::DivUIOp::create(b, number, ranges);
  Value range = arith::RemUIOp::create(b, number, ranges);
  return {part, b.mul(range, b.index(rangeSize())), firstOfPart(part),
          firstOfPart(b.add(part, b.index(1)))};
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
/// No load depends on a condition, so that none waits for another: threads
/// without an entry look at the first row. Weights are loaded with the experts
/// that they belong to, since the masks take a while.
ExpertLists::Entries ExpertLists::loadEntries(const Tile &tile) {
  Value zero = b.index(0), perRow = b.index(topK);
  Value firstExpert = b.firstExpert(b.me(), placement);
  Value begin = firstOfPart(firstPart), end = firstOfPart(endPart);
  Entries entries;
  for (int64_t i = 0; i < entriesPerThread(); ++i) {
    Value number = b.add(b.thread(), b.index(i * b.launchShape().threads));
    Value slot = arith::RemUIOp::create(b, number, perRow);
    Entry entry;
    entry.bit = arith::DivUIOp::create(b, number, perRow);
    Value item = b.add(tile.first, entry.bit);
    Value isItem = b.cmp(Pred::ult, item, tile.last);
    entry.row = b.select(isItem, rowAt(item), zero);
    Value expert =
        b.loadIndex(op.getOutput(Output::RecvTopkIdx), {entry.row, slot});
    entry.local = b.sub(expert, firstExpert);
    entry.mask = b.sub(entry.local, tile.firstExpert);
    Value isHere = b.cmp(Pred::ult, entry.local, b.index(numExperts()));
    if (numRanges() > 1)
      isHere =
          b.both(isHere, b.cmp(Pred::ult, entry.mask, b.index(rangeSize())));
    entry.isThere = b.both(isItem, isHere);
    entry.isOwn = entry.isThere;
    Value row = entry.row;
    if (isReplicated()) {
      Value isOwn =
          b.both(b.cmp(Pred::uge, item, begin), b.cmp(Pred::ult, item, end));
      entry.isOwn = b.both(entry.isThere, isOwn);
      row = b.select(isOwn, row, zero);
    }
    entry.weight = b.load(op.getOutput(Output::RecvTopkWeights), {row, slot});
    entries.push_back(entry);
  }
  return entries;
}

/// Each group takes up its rows, rounded up (dispatch_s14). A lane adds up
/// experts that follow one another.
void ExpertLists::placeGroups() {
  Value zero = b.index(0), experts = b.index(numExperts());
  int64_t perLane = std::min<int64_t>(
      llvm::divideCeil(numExperts(), kSubgroupSize), kExpertsPerLane);
  auto place = [&](Value begin, Value before) -> Value {
    Value first = b.add(begin, b.mul(b.lane(), b.index(perLane)));
    SmallVector<Value> rows, sizes;
    Value sum = zero;
    for (int64_t i = 0; i < perLane; ++i) {
      Value expert = b.add(first, b.index(i));
      Value isExpert = b.cmp(Pred::ult, expert, experts);
      rows.push_back(loadEntry(totals, b.select(isExpert, expert, zero)));
      Value size = b.alignUp(rows.back(), *op.getListAlignment());
      sizes.push_back(b.select(isExpert, size, zero));
      sum = b.add(sum, sizes.back());
    }
    Value offset = b.add(before, b.sumOfLanesBelow(sum));
    for (int64_t i = 0; i < perLane; ++i) {
      Value expert = b.add(first, b.index(i));
      b.ifThen(b.cmp(Pred::ult, expert, experts), [&] {
        storeEntry(offset, offsets, expert);
        b.onFirstBlock([&] {
          b.storeIndex(offset, op.getOutput(Output::ExpertOffsets), {expert});
          b.storeIndex(rows[i], op.getOutput(Output::ExpertCounts), {expert});
        });
      });
      offset = b.add(offset, sizes[i]);
    }
    return b.add(before, b.sumOverLanes(sum));
  };
  b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
    int64_t steps = llvm::divideCeil(numExperts(), perLane * kSubgroupSize);
    Value size = b.index(perLane * kSubgroupSize);
    Value end =
        b.reduce(zero, b.index(steps), zero,
                 [&](Value step, ValueRange before) -> SmallVector<Value> {
                   return {place(b.mul(step, size), before[0])};
                 })[0];
    b.onFirstLane([&] { storeEntry(end, offsets, experts); });
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
