//===- DispatchCount.cpp - the rows of a rank, counted by a kernel --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

using namespace mlir;
using namespace mlir::moe;

void DispatchKernel::count() {
  if (isReplicated())
    return countAllTokens();
  if (keyIsExpert())
    routeTokens();
  countOwnTokens();
  symm::GridBarrierOp::create(b, barrierCounter);
}

/// One thread per (token, slot) of the block.
void DispatchKernel::routeTokens() {
  Value perToken = b.index(topK);
  Value entries = b.mul(b.sub(end, first), perToken);
  b.forThreads(entries, [&](Value i) {
    Value token = b.add(first, arith::DivUIOp::create(b, i, perToken));
    Value k = arith::RemUIOp::create(b, i, perToken);
    routeSlot(token, k);
    // Slots that no row has; those that one has are numbered below.
    if (op.isExpertMajor())
      b.store(b.i32(-1), rowNumber, {token, k});
    else
      b.loop(b.numRanks(),
             [&](Value peer) { b.store(b.i32(-1), rowNumber, {token, peer}); });
  });
  b.syncBlock();
}

SmallVector<Value> DispatchKernel::loadExperts(Value token, Value isToken) {
  Type id = cast<MemRefType>(op.getTopkIdx().getType()).getElementType();
  Value none = b.integer(id, -1);
  Value last = b.integer(id, placement.numExperts - 1);
  auto look =
      scf::IfOp::create(b, SmallVector<Type>(topK, b.getIndexType()), isToken,
                        /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  SmallVector<Value> experts;
  for (int64_t k = 0; k < topK; ++k)
    experts.push_back(b.load(op.getTopkIdx(), {token, b.index(k)}));
  for (Value &expert : experts) {
    Value inRange =
        b.both(b.cmp(Pred::sge, expert, none), b.cmp(Pred::sle, expert, last));
    b.check(inRange, symm::Failure::invalid_expert, "expert id", last, expert);
    expert = b.toIndex(b.select(inRange, expert, none));
  }
  scf::YieldOp::create(b, experts);
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, SmallVector<Value>(topK, b.index(-1)));
  return look.getResults();
}

Value DispatchKernel::hasExpertOf(ValueRange experts, Value peer) {
  auto [firstExpert, lastExpert] = expertsOf(peer);
  Value found = b.integer(b.getI1Type(), 0);
  for (Value expert : experts) {
    Value isThere = b.both(b.cmp(Pred::sge, expert, firstExpert),
                           b.cmp(Pred::slt, expert, lastExpert));
    found = arith::OrIOp::create(b, found, isThere);
  }
  return found;
}

/// Thread `t` looks at token `t`; a subgroup has a chunk of 32 tokens.
void DispatchKernel::countAllTokens() {
  Value zero = b.index(0), token = b.thread();
  chunkStart = b.workgroup({numChunks() + 1, b.numRanks()}, b.getI32Type());
  if (sharesRowNumbers())
    rowNumber =
        b.workgroup({static_cast<int64_t>(op.getTokenBound()), b.numRanks()},
                    b.getI32Type());
  Value chunks = b.index(numChunks());
  b.ifThen(b.cmp(Pred::ult, b.subgroup(), chunks), [&] {
    Value isToken = b.cmp(Pred::ult, token, numTokens);
    Value isOwn =
        b.both(b.cmp(Pred::uge, token, first), b.cmp(Pred::ult, token, end));
    SmallVector<Value> experts = loadExperts(token, isToken);
    b.loop(b.numRanks(), [&](Value peer) {
      Value hasRow = hasExpertOf(experts, peer);
      Value mask = b.ballot(hasRow);
      b.ifThen(isOwn, [&] {
        Value number = b.countBits(b.bitsBelow(mask));
        b.storeIndex(b.select(hasRow, number, b.index(-1)), rowNumber,
                     {ownRow(token), peer});
      });
      b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
        b.storeIndex(b.countBits(mask), chunkStart, {b.subgroup(), peer});
      });
    });
  });
  b.syncBlock();
  // Counts become sums of the chunks before; the last row has the totals.
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    Value total =
        b.reduce(zero, chunks, zero,
                 [&](Value chunk, ValueRange sum) -> SmallVector<Value> {
                   Value rows = b.loadIndex(chunkStart, {chunk, peer});
                   b.storeIndex(sum[0], chunkStart, {chunk, peer});
                   return {b.add(sum[0], rows)};
                 })[0];
    b.storeIndex(total, chunkStart, {chunks, peer});
  });
  // The block meets again before it reads them, in publishCounts or after the
  // waits.
}

std::pair<Value, Value> DispatchKernel::findKey(Value token, Value key) {
  Value zero = b.index(0);
  Value no = b.integer(b.getI1Type(), 0);
  Value isToken = b.cmp(Pred::ult, token, end);
  auto look = scf::IfOp::create(b, TypeRange{b.getI1Type(), b.getIndexType()},
                                isToken, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  SmallVector<Value> found =
      b.reduce(zero, b.index(topK), {no, zero},
               [&](Value k, ValueRange carried) -> SmallVector<Value> {
                 Value expert = b.loadIndex(expertOf, {token, k});
                 Value isKey = b.cmp(Pred::eq, expert, key);
                 return {arith::OrIOp::create(b, carried[0], isKey),
                         b.select(isKey, k, carried[1])};
               });
  scf::YieldOp::create(b, found);
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, ValueRange{no, zero});
  return {look.getResult(0), look.getResult(1)};
}

/// One subgroup per key, one lane per token.
void DispatchKernel::countOwnTokens() {
  Value zero = b.index(0);
  b.forSubgroups(zero, b.index(numKeys()), [&](Value key) {
    auto tokens = scf::ForOp::create(b, first, end, b.index(kSubgroupSize),
                                     ValueRange{zero});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(tokens.getBody());
      Value running = tokens.getRegionIterArg(0);
      Value token = b.add(tokens.getInductionVar(), b.lane());
      Value hasRow, slot = key;
      if (keyIsExpert()) {
        std::tie(hasRow, slot) = findKey(token, key);
        if (!op.isExpertMajor())
          slot = b.owner(key, placement);
      } else {
        Value isToken = b.cmp(Pred::ult, token, end);
        hasRow = hasExpertOf(loadExperts(token, isToken), key);
      }
      Value mask = b.ballot(hasRow);
      Value number = b.add(running, b.countBits(b.bitsBelow(mask)));
      if (keyIsExpert()) {
        b.ifThen(hasRow,
                 [&] { b.storeIndex(number, rowNumber, {token, slot}); });
      } else {
        b.ifThen(b.cmp(Pred::ult, token, end), [&] {
          b.storeIndex(b.select(hasRow, number, b.index(-1)), rowNumber,
                       {token, slot});
        });
      }
      scf::YieldOp::create(b, b.add(running, b.countBits(mask)));
    }
    b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
      b.storeIndex(tokens.getResult(0), blockCounts, {key, b.block()});
    });
  });
}

Value DispatchKernel::countOfBlocks(Value key, Value blocks) {
  auto lanes = scf::ForOp::create(b, b.lane(), blocks, b.index(kSubgroupSize),
                                  ValueRange{b.index(0)});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(lanes.getBody());
    Value rows = b.loadIndex(blockCounts, {key, lanes.getInductionVar()});
    scf::YieldOp::create(b, b.add(lanes.getRegionIterArg(0), rows));
  }
  return b.sumOverLanes(lanes.getResult(0));
}

Value DispatchKernel::totalOf(Value key) {
  if (chunkStart)
    return b.loadIndex(chunkStart, {b.index(numChunks()), key});
  return b.loadIndex(counts, {b.index(0), key});
}

/// One block adds up the counts of all and sends them to every rank. A rank
/// that has recorded an error sends -1 instead.
void DispatchKernel::publishCounts() {
  Value zero = b.index(0);
  Value toRank = op.getOutput(Output::TokensToRank);
  if (!isSlab())
    status = b.workgroup({1}, b.getI32Type());
  b.onFirstBlock([&] {
    // All threads have to see the same: one looks, while others add.
    if (!isSlab())
      b.onThread(b.index(b.launchShape().threads - 1), [&] {
        Value failed = symm::FailedOp::create(b, b.getI1Type());
        b.store(b.select(failed, b.i32(-1), b.i32(0)), status, zero);
      });
    if (!isReplicated()) {
      b.forSubgroups(zero, b.index(numKeys()), [&](Value key) {
        Value total = countOfBlocks(key, b.numBlocks());
        b.ifThen(b.cmp(Pred::eq, b.lane(), zero),
                 [&] { b.storeIndex(total, counts, {zero, key}); });
      });
    }
    b.syncBlock();
    b.forThreads(b.index(b.numRanks()), [&](Value peer) {
      Value rows =
          keyIsExpert()
              ? sumOverExpertsOf(peer,
                                 [&](Value expert) { return totalOf(expert); })
              : totalOf(peer);
      b.storeIndex(rows, toRank, {peer});
    });
    if (isSlab())
      return;
    b.syncBlock();
    Value failed = b.cmp(Pred::slt, b.load(status, zero), b.i32(0));
    Value perRank = b.index(numExchanged());
    b.forThreads(b.index(b.numRanks() * numExchanged()), [&](Value i) {
      Value peer = arith::DivUIOp::create(b, i, perRank);
      Value key = arith::RemUIOp::create(b, i, perRank);
      Value rows = op.isExpertMajor() || !keyIsExpert()
                       ? b.fromIndex(totalOf(key), b.getI32Type())
                       : b.load(toRank, {key});
      Value there = symm::PeerOp::create(b, all, peer);
      b.store(b.select(failed, b.i32(-1), rows), there, {b.me(), key});
    });
    b.syncBlock();
    b.forThreads(b.index(b.numRanks()), [&](Value peer) {
      symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
    });
  });
}

/// What the receivers of slabs are told. They read it when this run is done,
/// and so it is free for the next run once they have begun that.
void DispatchKernel::publishSlabCounts() {
  b.onFirstBlock([&] {
    b.forPeers([&](Value peer) {
      b.storeIndex(totalOf(peer), symm::PeerOp::create(b, slabCounts, peer),
                   {b.me()});
    });
  });
}
