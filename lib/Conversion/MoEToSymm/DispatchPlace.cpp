//===- DispatchPlace.cpp - where the rows of a block go -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// Fills `start`. When a rank has found an error, or needs more rows than fit,
/// no row is put: no token is left. Ranks with slabs do not know that in time
/// (placement_s2).
void DispatchKernel::place() {
  if (isSlab())
    return placeInSlab();
  needed = keyTable(b.numRanks(), Value());
  if (op.isExpertMajor())
    placeByExpert();
  else if (keyIsExpert())
    placeInExpertOrder();
  else
    placeByRank();
  b.syncBlock();
  checkNeeds();
}

void DispatchKernel::placeInSlab() {
  b.forSubgroups(b.index(0), b.index(b.numRanks()), [&](Value peer) {
    Value row = b.add(firstSlabRow(), countOfBlocks(peer, b.block()));
    b.ifThen(b.cmp(Pred::eq, b.lane(), b.index(0)),
             [&] { storeKey(row, start, peer); });
  });
  b.syncBlock();
}

/// rank_major: one subgroup per destination.
void DispatchKernel::placeByRank() {
  Value zero = b.index(0);
  b.forSubgroups(zero, b.index(b.numRanks()), [&](Value peer) {
    Value lower = countsInChunks() ? zero : countOfBlocks(peer, b.block());
    b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
      auto [before, total] = b.sumOfSenders(all, peer);
      storeKey(total, needed, peer);
      storeKey(b.add(before, lower), start, peer);
    });
  });
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value sender) {
      b.store(b.load(all, {sender, b.me()}),
              op.getOutput(Output::TokensFromRank), {sender});
    });
  });
}

/// Within a sender the rows are ordered by expert, then by block: one subgroup
/// per expert for the sums, one thread per destination for their sequence.
void DispatchKernel::placeInExpertOrder() {
  Value zero = b.index(0);
  groupRows = keyTable(numKeys(), groupRowsScratch);
  b.forSubgroups(zero, b.index(numKeys()), [&](Value expert) {
    Value lower = countOfBlocks(expert, b.block());
    Value rows = countOfBlocks(expert, b.numBlocks());
    b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
      storeKey(lower, start, expert);
      storeKey(rows, groupRows, expert);
    });
  });
  b.syncBlock();
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    auto [before, total] = b.sumOfSenders(all, peer);
    storeKey(total, needed, peer);
    auto [first, last] = expertsOf(peer);
    b.reduce(first, last, before,
             [&](Value expert, ValueRange row) -> SmallVector<Value> {
               Value lower = loadKey(start, expert);
               storeKey(b.add(row[0], lower), start, expert);
               return {b.add(row[0], loadKey(groupRows, expert))};
             });
  });
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value sender) {
      b.store(b.load(all, {sender, b.me()}),
              op.getOutput(Output::TokensFromRank), {sender});
    });
  });
}

/// expert_major: one subgroup per expert for the sums, one thread per rank for
/// the groups, which follow one another.
void DispatchKernel::placeByExpert() {
  Value zero = b.index(0);
  Value numExperts = b.index(placement.numExperts);
  groups = keyTable(numKeys(), groupScratch);
  groupRows = keyTable(numKeys(), groupRowsScratch);
  b.forSubgroups(zero, numExperts, [&](Value expert) {
    Value lower = countOfBlocks(expert, b.block());
    b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
      auto [before, total] = b.sumOfSenders(all, expert);
      storeKey(total, groupRows, expert);
      storeKey(b.add(before, lower), start, expert);
    });
  });
  b.syncBlock();
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    Value first, last, groupsEnd, used;
    std::tie(first, last) = expertsOf(peer);
    std::tie(groupsEnd, used) = placeGroups(
        first, last, [&](Value expert) { return loadKey(groupRows, expert); },
        [&](Value expert, Value group, Value) {
          storeKey(group, groups, expert);
        });
    storeKey(used, needed, peer);
    if (placement.remainder() == 0)
      return;
    b.onFirstBlock([&] {
      b.ifThen(b.cmp(Pred::eq, peer, b.me()),
               [&] { storeSurplus(b.sub(last, first), groupsEnd); });
    });
  });
  b.syncBlock();
  b.forThreads(numExperts, [&](Value expert) {
    Value group = loadKey(groups, expert);
    storeKey(b.add(group, loadKey(start, expert)), start, expert);
  });
  b.onFirstBlock([&] {
    Value own, ownEnd;
    std::tie(own, ownEnd) = expertsOf(b.me());
    b.forThreads(b.sub(ownEnd, own), [&](Value local) {
      Value expert = b.add(own, local);
      b.storeIndex(loadKey(groups, expert), op.getOutput(Output::ExpertOffsets),
                   {local});
      b.storeIndex(loadKey(groupRows, expert),
                   op.getOutput(Output::ExpertCounts), {local});
    });
    b.forThreads(b.index(b.numRanks()), [&](Value sender) {
      Value rows = sumOverExpertsOf(b.me(), [&](Value expert) {
        return b.loadIndex(all, {sender, expert});
      });
      b.storeIndex(rows, op.getOutput(Output::TokensFromRank), {sender});
    });
  });
}

void DispatchKernel::checkNeeds() {
  Value zero = b.index(0);
  Value yes = b.integer(b.getI1Type(), 1);
  SmallVector<Value> verdicts = b.reduce(
      zero, b.index(b.numRanks()), {yes, yes},
      [&](Value rank, ValueRange carried) -> SmallVector<Value> {
        Value isAlive = b.cmp(Pred::sge, b.load(all, {rank, zero}), b.i32(0));
        Value fits = yes;
        if (op.getOverflow() == Overflow::error)
          fits = b.cmp(Pred::ule, loadKey(needed, rank), b.index(capacity));
        return {b.both(carried[0], isAlive), b.both(carried[1], fits)};
      });
  Value areAlive = verdicts[0], ok = b.both(areAlive, verdicts[1]);
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value rank) {
      Value isAlive = b.cmp(Pred::sge, b.load(all, {rank, zero}), b.i32(0));
      b.check(isAlive, symm::Failure::peer_failed, "status of a peer", b.i64(0),
              b.i64(-1), rank);
      // The counts of a rank that failed are none.
      checkCapacity(b.select(areAlive, loadKey(needed, rank), zero), rank);
    });
  });
  leaveTokensUnless(ok);
}
