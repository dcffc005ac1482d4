//===- ExpertMasks.cpp - which rows an expert takes, in a kernel ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpertLists.h"

using namespace mlir;
using namespace mlir::moe;

/// Words of a mask that are looked at without a loop, and counts of parts: all
/// loads are on their way before the first is waited for.
static constexpr int64_t kWordsAtOnce = 8;
static constexpr int64_t kPartsAtOnce = 16;

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

void ExpertLists::clearMasks() {
  b.forThreads(b.index(numMaskWords()),
               [&](Value word) { b.store(b.i32(0), masks, {word}); });
}

/// The bit (i32) of a row in its word.
static Value getBit(KernelBuilder &b, Value number) {
  Value inWord = arith::AndIOp::create(b, b.fromIndex(number, b.getI32Type()),
                                       b.i32(kSubgroupSize - 1));
  return arith::ShLIOp::create(b, b.i32(1), inWord);
}

void ExpertLists::markEntries(const Entries &entries) {
  for (const Entry &entry : entries)
    b.ifThen(entry.isThere, [&] {
      Value word = arith::DivUIOp::create(b, entry.bit, b.index(kSubgroupSize));
      word = b.add(b.mul(word, b.index(rangeSize())), entry.mask);
      symm::MarkOp::create(b, masks, word, getBit(b, entry.bit));
    });
}

Value ExpertLists::loadMask(Value word, Value expert) {
  return b.load(masks, {b.add(b.mul(word, b.index(rangeSize())), expert)});
}

Value ExpertLists::countMarked(Value expert) {
  Value sum = b.index(0);
  auto addUp = [&](Value word, Value sum) {
    return b.add(sum, b.countBits(loadMask(word, expert)));
  };
  if (wordsPerMask() > kWordsAtOnce)
    return b.reduce(sum, b.index(wordsPerMask()), sum,
                    [&](Value word, ValueRange sums) -> SmallVector<Value> {
                      return {addUp(word, sums[0])};
                    })[0];
  for (int64_t word = 0; word < wordsPerMask(); ++word)
    sum = addUp(b.index(word), sum);
  return sum;
}

Value ExpertLists::countMarkedBelow(Value bit, Value expert) {
  Value zero = b.index(0);
  Value own = arith::DivUIOp::create(b, bit, b.index(kSubgroupSize));
  Value below = b.sub(getBit(b, bit), b.i32(1));
  Value sum =
      b.countBits(arith::AndIOp::create(b, loadMask(own, expert), below));
  if (wordsPerMask() > kWordsAtOnce)
    return b.reduce(zero, own, sum,
                    [&](Value word, ValueRange sums) -> SmallVector<Value> {
                      Value mask = loadMask(word, expert);
                      return {b.add(sums[0], b.countBits(mask))};
                    })[0];
  for (int64_t word = 0; word < wordsPerMask() - 1; ++word) {
    Value isBelow = b.cmp(Pred::ult, b.index(word), own);
    Value rows = b.countBits(loadMask(b.index(word), expert));
    sum = b.add(sum, b.select(isBelow, rows, zero));
  }
  return sum;
}

//===----------------------------------------------------------------------===//
// Counts
//===----------------------------------------------------------------------===//

/// Of masks of all rows.
void ExpertLists::addUpAll() {
  b.forThreads(b.index(numPaddedExperts()), [&](Value expert) {
    storeEntry(countMarked(expert), totals, expert);
  });
}

void ExpertLists::storeCounts(const Tile &tile) {
  Value four = b.index(4);
  Value firstWord = arith::DivUIOp::create(b, tile.firstExpert, four);
  b.forThreads(b.index(numQuads()), [&](Value quad) {
    Value packed = b.i32(0);
    for (int64_t byte = 0; byte < 4; ++byte) {
      Value expert = b.add(quad, b.index(byte * numQuads()));
      Value rows = b.fromIndex(countMarked(expert), b.getI32Type());
      rows = arith::ShLIOp::create(b, rows, b.i32(8 * byte));
      packed = arith::OrIOp::create(b, packed, rows);
    }
    b.store(packed, partCounts, {tile.part, b.add(firstWord, quad)});
  });
}

/// A thread for four experts, or several where threads are left.
void ExpertLists::addUpParts() {
  int64_t words = numRanges() * numQuads();
  b.forThreads(b.index(words * numAdders()), [&](Value i) {
    sumPart(arith::RemUIOp::create(b, i, b.index(words)),
            arith::DivUIOp::create(b, i, b.index(words)));
  });
  if (numAdders() == 1)
    return;
  b.syncBlock();
  Value zero = b.index(0);
  b.forThreads(b.index(rangeSize()), [&](Value expert) {
    SmallVector<Value> sums = {zero, zero};
    for (int64_t adder = 0; adder < numAdders(); ++adder)
      for (int64_t i = 0; i < 2; ++i) {
        Value first = b.index((i * numAdders() + adder) * rangeSize());
        sums[i] =
            b.add(sums[i], b.loadIndex(partialSums, {b.add(first, expert)}));
      }
    storeEntry(sums[0], starts, expert);
    storeEntry(sums[1], totals, expert);
  });
}

/// Every `numAdders`-th part, from part `adder` on.
void ExpertLists::sumPart(Value word, Value adder) {
  int64_t steps = llvm::divideCeil(numParts(), numAdders());
  int64_t rounds = llvm::divideCeil(steps, kPartsAtOnce);
  int64_t atOnce = llvm::divideCeil(steps, rounds);
  Value none = b.i32(0);
  SmallVector<Value> sums = b.reduce(
      b.index(0), b.index(rounds), SmallVector<Value>(8, none),
      [&](Value round, ValueRange carried) {
        Value first = b.add(adder, b.mul(round, b.index(atOnce * numAdders())));
        SmallVector<Value> parts, counts;
        for (int64_t i = 0; i < atOnce; ++i) {
          Value part = b.add(first, b.index(i * numAdders()));
          Value isPart = b.cmp(Pred::ult, part, b.index(numParts()));
          Value place = b.select(isPart, part, b.index(0));
          Value count = b.load(partCounts, {place, word});
          parts.push_back(part);
          counts.push_back(b.select(isPart, count, none));
        }
        SmallVector<Value> sums(carried);
        for (auto [part, count] : llvm::zip_equal(parts, counts)) {
          Value isLower = b.cmp(Pred::ult, part, firstPart);
          Value lower = b.select(isLower, count, none);
          for (int64_t byte = 0; byte < 4; ++byte)
            for (auto [i, packed] :
                 {std::pair(0, lower), std::pair(4, count)}) {
              Value rows = arith::AndIOp::create(
                  b, arith::ShRUIOp::create(b, packed, b.i32(8 * byte)),
                  b.i32(255));
              sums[i + byte] = b.add(sums[i + byte], rows);
            }
        }
        return sums;
      });
  Value quads = b.index(numQuads());
  Value range = arith::DivUIOp::create(b, word, quads);
  Value quad = arith::RemUIOp::create(b, word, quads);
  for (int64_t byte = 0; byte < 4; ++byte) {
    Value expert = b.add(b.mul(range, b.index(rangeSize())),
                         b.add(quad, b.index(byte * numQuads())));
    Value lower = sums[byte], all = sums[4 + byte];
    if (numAdders() == 1) {
      storeEntry(b.toIndex(lower), starts, expert);
      storeEntry(b.toIndex(all), totals, expert);
      continue;
    }
    Value place = b.add(b.mul(adder, b.index(rangeSize())), expert);
    b.store(lower, partialSums, {place});
    b.store(all, partialSums,
            {b.add(place, b.index(numAdders() * rangeSize()))});
  }
}

/// The rows of the tile come before those of later parts.
void ExpertLists::passOver(const Tile &tile) {
  b.forThreads(b.index(rangeSize()), [&](Value expert) {
    Value local = b.add(tile.firstExpert, expert);
    Value start = b.add(loadEntry(starts, local), countMarked(expert));
    storeEntry(start, starts, local);
  });
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

/// After an error rows may still come, and more of them have an expert than
/// were counted: no entry is written past the lists.
void ExpertLists::writeEntries(const Entries &entries) {
  for (const Entry &entry : entries)
    b.ifThen(entry.isOwn, [&] {
      Value place = b.add(loadEntry(offsets, entry.local),
                          countMarkedBelow(entry.bit, entry.mask));
      if (!isReplicated())
        place = b.add(place, loadEntry(starts, entry.local));
      b.ifThen(b.cmp(Pred::ult, place, length), [&] {
        b.storeIndex(entry.row, op.getOutput(Output::ListRows), {place});
        b.store(entry.weight, op.getOutput(Output::ListWeights), {place});
      });
    });
}
