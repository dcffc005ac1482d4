//===- DispatchPlace.cpp - where rows go, as counts tell ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchTables.h"

using namespace mlir;
using namespace mlir::moe;

/// rank_major: one thread per destination.
void DispatchTables::placeByRank() {
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    auto [before, total] = b.sumOfSenders(all, peer);
    storeEntry(total, needed, peer);
    storeEntry(before, start, peer);
  });
  noteTokensFromRanks();
}

/// Where ranks exchange their counts per rank.
void DispatchTables::noteTokensFromRanks() {
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value sender) {
      b.store(b.load(all, {sender, b.me()}),
              op.getOutput(Output::TokensFromRank), {sender});
    });
  });
}

/// expert_major: rows of lower ranks come first in a group, then those of lower
/// blocks of this rank. A thread per expert for the former, a subgroup per
/// expert for the latter, and one per rank for the groups.
void DispatchTables::placeByExpert() {
  Value zero = b.index(0);
  Value numExperts = b.index(placement.numExperts);
  groups = makeTable(numKeys(), groupScratch);
  groupRows = makeTable(numKeys(), groupRowsScratch);
  b.forThreads(numExperts, [&](Value expert) {
    auto [before, total] = b.sumOfSenders(all, expert);
    storeEntry(total, groupRows, expert);
    storeEntry(before, start, expert);
  });
  b.syncBlock();
  addLowerBlocks();
  b.forSubgroups(zero, b.index(b.numRanks()),
                 [&](Value peer) { placeGroupsOf(peer); });
  b.syncBlock();
  b.onFirstBlock([&] {
    Value own, ownEnd;
    std::tie(own, ownEnd) = expertsOf(b.me());
    b.forThreads(b.sub(ownEnd, own), [&](Value local) {
      Value expert = b.add(own, local);
      b.storeIndex(loadEntry(groups, expert),
                   op.getOutput(Output::ExpertOffsets), {local});
      b.storeIndex(loadEntry(groupRows, expert),
                   op.getOutput(Output::ExpertCounts), {local});
    });
    b.forSubgroups(zero, b.index(b.numRanks()), [&](Value sender) {
      Value rows = sumOverExpertsInLanes(b.me(), [&](Value expert) {
        return b.loadIndex(all, {sender, expert});
      });
      b.onFirstLane([&] {
        b.storeIndex(rows, op.getOutput(Output::TokensFromRank), {sender});
      });
    });
  });
}

/// The groups of a rank's experts follow one another (dispatch_s4), each from a
/// multiple of the alignment on: so each takes up its rows, rounded up. The
/// rank needs as many rows as reach to the end of the last group that has any.
void DispatchTables::placeGroupsOf(Value peer) {
  Value zero = b.index(0);
  Value first, last;
  std::tie(first, last) = expertsOf(peer);
  SmallVector<Value> ends = b.reduceInLanes(
      first, last, {zero, zero},
      [&](Value expert, Value isExpert,
          ValueRange carried) -> SmallVector<Value> {
        Value rows = b.select(isExpert, loadEntry(groupRows, expert), zero);
        Value room = b.alignUp(rows, op.getAlignment());
        Value group = b.add(carried[0], b.sumOfLanesBelow(room));
        b.ifThen(isExpert, [&] {
          storeEntry(group, groups, expert);
          storeEntry(b.add(group, loadEntry(start, expert)), start, expert);
        });
        Value mask = b.ballot(b.cmp(Pred::sgt, rows, zero));
        Value end = b.shuffle(b.add(group, rows), b.highestBit(mask));
        Value hasRows = b.cmp(Pred::ne, mask, b.i32(0));
        return {b.add(carried[0], b.sumOverLanes(room)),
                b.select(hasRows, end, carried[1])};
      });
  b.onFirstLane([&] {
    storeEntry(ends[1], needed, peer);
    if (placement.remainder() == 0)
      return;
    auto [first, last] = expertsOf(peer);
    Value owned = b.sub(last, first);
    b.onFirstBlock([&] {
      b.ifThen(b.cmp(Pred::eq, peer, b.me()),
               [&] { storeSurplus(owned, ends[0]); });
    });
  });
}

Value DispatchTables::checkNeeds() {
  Value zero = b.index(0);
  Value yes = b.integer(b.getI1Type(), 1);
  SmallVector<Value> verdicts = b.reduce(
      zero, b.index(b.numRanks()), {yes, yes},
      [&](Value rank, ValueRange carried) -> SmallVector<Value> {
        Value isAlive = b.cmp(Pred::sge, b.load(all, {rank, zero}), b.i32(0));
        Value fits = yes;
        if (op.getOverflow() == Overflow::error)
          fits = b.cmp(Pred::ule, loadEntry(needed, rank), b.index(capacity));
        return {b.both(carried[0], isAlive), b.both(carried[1], fits)};
      });
  Value areAlive = verdicts[0], ok = b.both(areAlive, verdicts[1]);
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value rank) {
      Value isAlive = b.cmp(Pred::sge, b.load(all, {rank, zero}), b.i32(0));
      b.check(isAlive, symm::Failure::peer_failed, "status of a peer", b.i64(0),
              b.i64(-1), rank);
      // The counts of a rank that failed are none.
      checkCapacity(b.select(areAlive, loadEntry(needed, rank), zero), rank);
    });
  });
  return ok;
}
