//===- DispatchChunks.cpp - rows by rank, counted in chunks of tokens -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchRows.h"

using namespace mlir;
using namespace mlir::moe;

/// A lane looks at one token for all ranks. The blocks share the chunks out,
/// unless each looks at all of them. One more key has the tokens with errors.
void DispatchRows::countInChunks() {
  Value ranks = b.index(b.numRanks()), chunks = b.index(numChunks());
  chunkMask = makeTable({numChunks(), numChunkKeys()}, maskScratch);
  chunkStart = makeTable({numChunks() + 1, numChunkKeys()}, chunkScratch);
  auto note = [&](Value mask, Value chunk, Value key) {
    b.onFirstLane([&] {
      if (isReplicated())
        return storeMask(mask, chunk, key);
      Value word = b.add(b.mul(key, chunks), chunk);
      symm::PostOp::create(b, mask, posted, word, epoch);
    });
  };
  auto count = [&](Value chunk) {
    Value token = b.add(b.mul(chunk, b.index(kSubgroupSize)), b.lane());
    Value isToken = b.cmp(Pred::ult, token, numTokens);
    auto [experts, areFine] = loadExperts(token, isToken);
    Value no = b.integer(b.getI1Type(), 0);
    Value bad = b.ballot(b.cmp(Pred::eq, areFine, no));
    b.loop(b.numRanks(), [&, experts = experts](Value peer) {
      note(b.ballot(hasExpertOf(experts, peer)), chunk, peer);
    });
    note(bad, chunk, ranks);
  };
  if (isReplicated())
    return b.forSubgroups(b.index(0), chunks, count);
  // One per block first, so that as many as can look at the same time.
  b.step(b.add(b.block(), b.mul(b.subgroup(), b.numBlocks())), chunks,
         b.mul(b.numBlocks(), b.index(b.numSubgroups())), count);
}

Value DispatchRows::loadMask(Value chunk, Value key) {
  return b.load(chunkMask.buffer, indicesOf(chunkMask, {chunk, key}));
}

void DispatchRows::storeMask(Value mask, Value chunk, Value key) {
  b.store(mask, chunkMask.buffer, indicesOf(chunkMask, {chunk, key}));
}

Value DispatchRows::bitOf(Value token) {
  Value place = arith::RemUIOp::create(b, token, b.index(kSubgroupSize));
  return arith::ShLIOp::create(b, b.i32(1), b.fromIndex(place, b.getI32Type()));
}

/// Until the block has the masks of all chunks, a thread per word.
void DispatchRows::collectChunks() {
  if (isReplicated())
    return b.syncBlock();
  Value chunks = b.index(numChunks());
  Value words = b.index(numChunks() * numChunkKeys());
  Value yes = b.integer(b.getI1Type(), 1);
  auto own = scf::ForOp::create(b, b.thread(), words,
                                b.index(b.launchShape().threads), yes);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(own.getBody());
    Value word = own.getInductionVar();
    auto collect = symm::CollectOp::create(b, posted, word, epoch);
    Value key = arith::DivUIOp::create(b, word, chunks);
    Value chunk = arith::RemUIOp::create(b, word, chunks);
    storeMask(collect.getValue(), chunk, key);
    scf::YieldOp::create(b,
                         b.both(own.getRegionIterArg(0), collect.getPosted()));
  }
  haveMet = b.syncBlockAll(own.getResult(0));
  b.noteError(haveMet);
  leaveTokensUnless(haveMet);
}

/// Rows of the chunks before each; after the last one, the totals. The block
/// meets before it reads those of other keys.
void DispatchRows::addUpChunks() {
  if (addsUpByThreads())
    addUpChunksByThreads();
  else
    addUpChunksByLanes();
}

/// A thread per key.
void DispatchRows::addUpChunksByThreads() {
  Value zero = b.index(0), chunks = b.index(numChunks());
  b.forThreads(b.index(numChunkKeys()), [&](Value key) {
    Value total =
        b.reduce(zero, chunks, zero,
                 [&](Value chunk, ValueRange sum) -> SmallVector<Value> {
                   Value mask = loadMask(chunk, key);
                   storeEntry(sum[0], chunkStart, {chunk, key});
                   return {b.add(sum[0], b.countBits(mask))};
                 })[0];
    storeEntry(total, chunkStart, {chunks, key});
  });
}

/// A subgroup per key, of which each lane adds up consecutive counts.
void DispatchRows::addUpChunksByLanes() {
  Value zero = b.index(0), chunks = b.index(numChunks());
  Value perLane = b.index(llvm::divideCeil(numChunks(), kSubgroupSize));
  b.forSubgroups(zero, b.index(numChunkKeys()), [&](Value key) {
    Value begin = arith::MinUIOp::create(b, b.mul(b.lane(), perLane), chunks);
    Value end = arith::MinUIOp::create(b, b.add(begin, perLane), chunks);
    Value sum =
        b.reduce(begin, end, zero,
                 [&](Value chunk, ValueRange sum) -> SmallVector<Value> {
                   Value mask = loadMask(chunk, key);
                   return {b.add(sum[0], b.countBits(mask))};
                 })[0];
    Value before = b.sumOfLanesBelow(sum);
    Value total =
        b.reduce(begin, end, before,
                 [&](Value chunk, ValueRange before) -> SmallVector<Value> {
                   storeEntry(before[0], chunkStart, {chunk, key});
                   Value mask = loadMask(chunk, key);
                   return {b.add(before[0], b.countBits(mask))};
                 })[0];
    b.ifThen(b.cmp(Pred::eq, b.lane(), b.index(kSubgroupSize - 1)),
             [&] { storeEntry(total, chunkStart, {chunks, key}); });
  });
}

std::pair<Value, Value> DispatchRows::findInChunks(Value token, Value key) {
  Value chunk = arith::DivUIOp::create(b, token, b.index(kSubgroupSize));
  Value mask = loadMask(chunk, key);
  Value bit = bitOf(token);
  Value hasRow = b.cmp(Pred::ne, arith::AndIOp::create(b, mask, bit), b.i32(0));
  Value below = arith::AndIOp::create(b, mask, b.sub(bit, b.i32(1)));
  Value before = loadEntry(chunkStart, {chunk, key});
  return {hasRow, b.add(before, b.countBits(below))};
}
