//===- DispatchCount.cpp - the rows of a rank, counted by a kernel --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchRows.h"

using namespace mlir;
using namespace mlir::moe;

void DispatchRows::count() {
  if (marksTokens())
    return markTokens();
  if (countsInChunks()) {
    countInChunks();
    if (postsMasks())
      afterPosting();
    collectChunks();
    return addUpChunks();
  }
  routeTokens();
  countByExpert();
  meetBlocks();
}

void DispatchRows::meetBlocks() {
  haveMet =
      symm::GridBarrierOp::create(b, b.getI1Type(), barrierCounter).getMet();
  b.noteError(haveMet);
  leaveTokensUnless(haveMet);
}

/// One thread per (token, slot) of the block.
void DispatchRows::routeTokens() {
  Value perToken = b.index(topK);
  Value entries = b.mul(b.sub(end, first), perToken);
  b.forThreads(entries, [&](Value i) {
    Value token = b.add(first, arith::DivUIOp::create(b, i, perToken));
    Value k = arith::RemUIOp::create(b, i, perToken);
    routeSlot(token, k);
    if (marksTokens())
      return;
    // Slots that no row has; those that one has are numbered below.
    if (op.isExpertMajor())
      b.store(b.i32(-1), rowNumber, {token, k});
    else
      b.loop(b.numRanks(),
             [&](Value peer) { b.store(b.i32(-1), rowNumber, {token, peer}); });
  });
  b.syncBlock();
}

std::pair<SmallVector<Value>, Value> DispatchRows::loadExperts(Value token,
                                                               Value isToken) {
  Type id = cast<MemRefType>(op.getTopkIdx().getType()).getElementType();
  Value none = b.integer(id, -1);
  Value last = b.integer(id, placement.numExperts - 1);
  Value no = b.integer(b.getI1Type(), 0);
  SmallVector<Type> types(topK, b.getIndexType());
  types.push_back(b.getI1Type());
  auto look = scf::IfOp::create(b, types, isToken, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  SmallVector<Value> experts;
  for (int64_t k = 0; k < topK; ++k)
    experts.push_back(b.load(op.getTopkIdx(), {token, b.index(k)}));
  // Of several wrong ids the check names the first.
  Value areFine = b.integer(b.getI1Type(), 1), seen = experts.front();
  Value slot = b.index(0);
  for (auto [k, expert] : llvm::enumerate(experts)) {
    Value inRange =
        b.both(b.cmp(Pred::sge, expert, none), b.cmp(Pred::sle, expert, last));
    Value isFirst = b.both(areFine, b.cmp(Pred::eq, inRange, no));
    seen = b.select(isFirst, expert, seen);
    slot = b.select(isFirst, b.index(static_cast<int64_t>(k)), slot);
    areFine = b.both(areFine, inRange);
    expert = b.toIndex(b.select(inRange, expert, none));
  }
  b.check(areFine, symm::Failure::invalid_expert, "expert id",
          {last, seen, Value(), none, token, slot});
  experts.push_back(areFine);
  scf::YieldOp::create(b, experts);
  b.setInsertionPointToStart(look.elseBlock());
  experts.assign(topK, b.index(-1));
  experts.push_back(b.integer(b.getI1Type(), 1));
  scf::YieldOp::create(b, experts);
  ValueRange results = look.getResults();
  return {results.drop_back(), results.back()};
}

Value DispatchRows::hasExpertOf(ValueRange experts, Value peer) {
  auto [firstExpert, lastExpert] = expertsOf(peer);
  Value found = b.integer(b.getI1Type(), 0);
  for (Value expert : experts) {
    Value isThere = b.both(b.cmp(Pred::sge, expert, firstExpert),
                           b.cmp(Pred::slt, expert, lastExpert));
    found = arith::OrIOp::create(b, found, isThere);
  }
  return found;
}

/// One subgroup per expert, one lane per token.
void DispatchRows::countByExpert() {
  Value zero = b.index(0);
  b.forSubgroups(zero, b.index(numKeys()), [&](Value expert) {
    Value rows = numberInLanes(
        first, end, zero,
        [&](Value token) {
          auto [hasRow, slot] =
              findExpert(expertOf, token, b.cmp(Pred::ult, token, end), expert);
          if (!op.isExpertMajor())
            slot = b.owner(expert, placement);
          return std::pair(hasRow, slot);
        },
        [&](Value token, Value slot, Value number) {
          b.storeIndex(number, rowNumber, {token, slot});
        });
    b.onFirstLane(
        [&] { b.storeIndex(rows, blockCounts, {expert, b.block()}); });
  });
}

Value DispatchRows::countOfBlocks(Value key, Value blocks) {
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

Value DispatchRows::totalOf(Value key) {
  if (countsInChunks())
    return loadEntry(chunkStart, {b.index(numChunks()), key});
  if (marksTokens())
    return numMarked(key);
  return b.loadIndex(counts, {b.index(0), key});
}

/// Where tokens with errors are counted or noted, that. Elsewhere one thread
/// looks whether there is an error, across the bus and while others add.
void DispatchRows::noteStatus() {
  if (countsInChunks() || marksTokens())
    return;
  status = b.workgroup({1}, b.getI32Type());
  b.onFirstBlock([&] {
    b.onThread(b.index(b.launchShape().threads - 1), [&] {
      Value failed = symm::FailedOp::create(b, b.getI1Type());
      b.store(b.select(failed, b.i32(1), b.i32(0)), status, b.index(0));
    });
  });
}

Value DispatchRows::hasFailed() {
  Value failed =
      countsInChunks()
          ? b.cmp(Pred::ne, totalOf(b.index(b.numRanks())), b.index(0))
          : b.cmp(Pred::ne, b.load(status, b.index(0)), b.i32(0));
  if (!haveMet)
    return failed;
  // Then the counts of other blocks may be missing.
  Value no = b.integer(b.getI1Type(), 0);
  return arith::OrIOp::create(b, failed, b.cmp(Pred::eq, haveMet, no));
}

/// Where tokens are counted by blocks, in `counts` first. Otherwise the thread
/// that added up a rank's rows also stores them.
void DispatchRows::storeTotals() {
  Value zero = b.index(0);
  Value toRank = op.getOutput(Output::TokensToRank);
  if (!countsInChunks() && !marksTokens()) {
    b.forSubgroups(zero, b.index(numKeys()), [&](Value key) {
      Value total = countOfBlocks(key, b.numBlocks());
      b.onFirstLane([&] { b.storeIndex(total, counts, {zero, key}); });
    });
  }
  if (!addsUpByThreads())
    b.syncBlock();
  if (!keyIsExpert())
    return b.forThreads(b.index(b.numRanks()), [&](Value peer) {
      b.storeIndex(totalOf(peer), toRank, {peer});
    });
  b.forSubgroups(zero, b.index(b.numRanks()), [&](Value peer) {
    Value rows = sumOverExpertsInLanes(
        peer, [&](Value expert) { return totalOf(expert); });
    b.onFirstLane([&] { b.storeIndex(rows, toRank, {peer}); });
  });
}
