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
  if (marksTokens())
    return markTokens();
  if (countsInChunks()) {
    countInChunks();
    if (isSlab() && postsMasks()) {
      b.phase("ready");
      waitForRanks();
      b.phase("count");
    }
    collectChunks();
    return addUpChunks();
  }
  routeTokens();
  countByExpert();
  meetBlocks();
}

void DispatchKernel::meetBlocks() {
  haveMet =
      symm::GridBarrierOp::create(b, b.getI1Type(), barrierCounter).getMet();
  b.noteError(haveMet);
  leaveTokensUnless(haveMet);
}

/// One thread per (token, slot) of the block.
void DispatchKernel::routeTokens() {
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

std::pair<SmallVector<Value>, Value>
DispatchKernel::loadExperts(Value token, Value isToken) {
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

std::pair<Value, Value> DispatchKernel::findExpert(Value token, Value wanted) {
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
                 Value isKey = b.cmp(Pred::eq, expert, wanted);
                 return {arith::OrIOp::create(b, carried[0], isKey),
                         b.select(isKey, k, carried[1])};
               });
  scf::YieldOp::create(b, found);
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, ValueRange{no, zero});
  return {look.getResult(0), look.getResult(1)};
}

/// One subgroup per expert, one lane per token.
void DispatchKernel::countByExpert() {
  Value zero = b.index(0);
  b.forSubgroups(zero, b.index(numKeys()), [&](Value expert) {
    auto tokens = scf::ForOp::create(b, first, end, b.index(kSubgroupSize),
                                     ValueRange{zero});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(tokens.getBody());
      Value running = tokens.getRegionIterArg(0);
      Value token = b.add(tokens.getInductionVar(), b.lane());
      auto [hasRow, slot] = findExpert(token, expert);
      if (!op.isExpertMajor())
        slot = b.owner(expert, placement);
      Value mask = b.ballot(hasRow);
      Value number = b.add(running, b.countBits(b.bitsBelow(mask)));
      b.ifThen(hasRow, [&, slot = slot] {
        b.storeIndex(number, rowNumber, {token, slot});
      });
      scf::YieldOp::create(b, b.add(running, b.countBits(mask)));
    }
    b.onFirstLane([&] {
      b.storeIndex(tokens.getResult(0), blockCounts, {expert, b.block()});
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
  if (countsInChunks())
    return loadEntry(chunkStart, {b.index(numChunks()), key});
  if (marksTokens())
    return numMarked(key);
  return b.loadIndex(counts, {b.index(0), key});
}

/// Where tokens with errors are counted or noted, that. Elsewhere one thread
/// looks whether there is an error, across the bus and while others add.
void DispatchKernel::noteStatus() {
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

Value DispatchKernel::hasFailed() {
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

/// One block adds up the counts of all and sends them to every rank. A rank
/// that has found an error sends -1 instead.
void DispatchKernel::publishCounts() {
  Value zero = b.index(0);
  Value toRank = op.getOutput(Output::TokensToRank);
  noteStatus();
  b.onFirstBlock([&] {
    if (!countsInChunks() && !marksTokens()) {
      b.forSubgroups(zero, b.index(numKeys()), [&](Value key) {
        Value total = countOfBlocks(key, b.numBlocks());
        b.onFirstLane([&] { b.storeIndex(total, counts, {zero, key}); });
      });
    }
    // Otherwise the thread that added up a rank's rows also stores them.
    if (!addsUpByThreads())
      b.syncBlock();
    if (keyIsExpert())
      b.forSubgroups(zero, b.index(b.numRanks()), [&](Value peer) {
        Value rows = sumOverExpertsInLanes(
            peer, [&](Value expert) { return totalOf(expert); });
        b.onFirstLane([&] { b.storeIndex(rows, toRank, {peer}); });
      });
    else
      b.forThreads(b.index(b.numRanks()), [&](Value peer) {
        b.storeIndex(totalOf(peer), toRank, {peer});
      });
    if (isSlab())
      return;
    b.syncBlock();
    Value failed = hasFailed();
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

/// A flag that is the number: the epoch in the upper bits, rows in the lower,
/// all ones after an error. No rank sends the next one before all ranks have
/// begun their next run.
void DispatchKernel::sendSlabCounts() {
  b.onFirstBlock([&] {
    b.forPeers([&](Value peer) {
      Value rows = b.select(hasFailed(), b.i64(noSlabCount()),
                            b.fromIndex(totalOf(peer), b.getI64Type()));
      symm::SignalOp::create(b, slabCounts, b.me(), peer,
                             b.add(slabEpoch(), rows), /*relaxed=*/true);
    });
  });
}

/// Beside the wait for the rows. With padding each block has to know the counts
/// of all senders.
void DispatchKernel::receiveSlabCounts() {
  auto receive = [&] {
    b.forPeersAside([&](Value peer) {
      Value seen = symm::WaitOp::create(b, b.getI64Type(), slabCounts, peer,
                                        peer, slabEpoch())
                       .getSeen();
      Value rows = b.sub(seen, slabEpoch());
      b.check(b.cmp(Pred::ne, rows, b.i64(noSlabCount())),
              symm::Failure::peer_failed, "status of a peer", b.i64(0),
              b.i64(-1), peer);
      auto store = [&] {
        b.storeIndex(b.toIndex(rows), op.getOutput(Output::TokensFromRank),
                     {peer});
      };
      if (!padding)
        return store();
      b.onFirstBlock(store);
      // Without a count nothing is known to be empty.
      Value bound = b.i64(op.getTokenBound());
      Value isCount = b.cmp(Pred::ule, rows, bound);
      b.storeIndex(b.toIndex(b.select(isCount, rows, bound)), slabRows, {peer});
    });
  };
  if (!padding)
    return b.onFirstBlock(receive);
  slabRows = b.workgroup({b.numRanks()}, b.getI32Type());
  receive();
  b.syncBlock();
}
