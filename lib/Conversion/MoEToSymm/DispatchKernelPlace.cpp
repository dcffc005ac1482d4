//===- DispatchKernelPlace.cpp - where the rows of a block go -------------===//
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
  needed = makeTable(b.numRanks(), Value());
  if (op.isExpertMajor())
    placeByExpert();
  else if (keyIsExpert())
    placeInExpertOrder();
  else
    placeByRank();
  b.syncBlock();
  leaveTokensUnless(checkNeeds());
}

/// Within a sender the rows are ordered by expert, then by block: one subgroup
/// per expert for the sums, one per destination for their sequence.
void DispatchKernel::placeInExpertOrder() {
  Value zero = b.index(0);
  groupRows = makeTable(numKeys(), groupRowsScratch);
  if (marksTokens())
    b.forThreads(b.index(numKeys()), [&](Value expert) {
      storeEntry(zero, start, expert);
      storeEntry(totalOf(expert), groupRows, expert);
    });
  else
    b.forSubgroups(zero, b.index(numKeys()), [&](Value expert) {
      Value lower = countOfBlocks(expert, b.block());
      Value rows = countOfBlocks(expert, b.numBlocks());
      b.onFirstLane([&] {
        storeEntry(lower, start, expert);
        storeEntry(rows, groupRows, expert);
      });
    });
  b.syncBlock();
  b.forSubgroups(zero, b.index(b.numRanks()), [&](Value peer) {
    auto [before, total] = b.sumOfSenders(all, peer);
    b.onFirstLane([&, total = total] { storeEntry(total, needed, peer); });
    auto [first, last] = expertsOf(peer);
    b.reduceInLanes(
        first, last, before,
        [&](Value expert, Value isExpert,
            ValueRange row) -> SmallVector<Value> {
          Value rows = b.select(isExpert, loadEntry(groupRows, expert), zero);
          Value first = b.add(row[0], b.sumOfLanesBelow(rows));
          b.ifThen(isExpert, [&] {
            storeEntry(b.add(first, loadEntry(start, expert)), start, expert);
          });
          return {b.add(row[0], b.sumOverLanes(rows))};
        });
  });
  noteTokensFromRanks();
}

void DispatchKernel::addLowerBlocks() {
  if (marksTokens())
    return;
  b.forSubgroups(b.index(0), b.index(numKeys()), [&](Value expert) {
    Value lower = countOfBlocks(expert, b.block());
    b.onFirstLane([&] {
      storeEntry(b.add(loadEntry(start, expert), lower), start, expert);
    });
  });
  b.syncBlock();
}
