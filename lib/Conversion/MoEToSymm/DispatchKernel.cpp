//===- DispatchKernel.cpp - lower moe.dispatch to a kernel ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The protocol of a dispatch as one persistent kernel. A block routes and
/// counts a contiguous range of the tokens, one subgroup per key: a vote tells
/// each lane which of 32 tokens have rows for the key, so rows are numbered in
/// the order of tokens without atomics. Blocks meet once, so that one of them
/// can send the counts of the rank; afterwards each finds where its own rows
/// start and copies them, one subgroup per token. The last block to finish
/// talks to the other ranks.
///
//===----------------------------------------------------------------------===//

#include "DispatchProtocol.h"
#include "KernelBuilder.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

using Pred = ProtocolBuilder::Pred;

class DispatchKernel : public DispatchProtocol {
public:
  DispatchKernel(DispatchOp op, KernelBuilder &b)
      : DispatchProtocol(op, b), b(b) {}

  void lower();

private:
  void allocate();
  void routeTokens();
  void countRows();
  void publishCounts();
  void placeByRank();
  void placeByExpert();
  void place();
  void putTokens();
  void complete();
  Value countOfBlocks(Value key, Value blocks);
  Value countOfLowerBlocks(Value key) { return countOfBlocks(key, b.block()); }
  std::pair<Value, Value> findRow(Value token, Value slot);
  std::pair<Value, Value> findReusedRow(Value token, Value slot);
  /// Counts that each rank sends to the others: per expert or per rank.
  int64_t numExchanged() {
    return op.isExpertMajor() ? placement.numExperts : placement.numRanks;
  }

  KernelBuilder &b;
  Value first, end; ///< this block's tokens
  Value epoch;
  Value epochCounter, barrierCounter, doneCounter;
  Value arrived, done;     ///< flags
  Value all;               ///< counts of all ranks: R×keys
  Value blockCounts;       ///< blocks×keys: rows of each block
  Value blockStart;        ///< blocks×keys: where they start
  Value groups, groupRows; ///< blocks×E: place and size of each expert's group
  Value needed;            ///< blocks×R: rows each rank needs
  Value slabCounts;
  Value status; ///< of this rank, negative after an error
};

} // namespace

void moe::lowerDispatchToKernel(DispatchOp op, KernelBuilder &b) {
  DispatchKernel(op, b).lower();
}

void DispatchKernel::allocate() {
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  epochCounter = b.persistent({1}, i64);
  doneCounter = b.persistent({1}, i64);
  arrived = b.flags();
  done = b.flags();
  if (op.isReuse())
    return;
  int64_t blocks = b.maxBlocks();
  barrierCounter = b.persistent({1}, i64);
  allocateRouting();
  counts = b.scratch({1, numKeys()}, i32);
  blockCounts = b.scratch({blocks, numKeys()}, i32);
  blockStart = b.scratch({blocks, numKeys()}, i32);
  if (isSlab()) {
    slabCounts = b.persistent({b.numRanks()}, i32);
    return;
  }
  all = b.persistent({b.numRanks(), numExchanged()}, i32);
  status = b.scratch({1}, i32);
  needed = b.scratch({blocks, b.numRanks()}, i32);
  if (op.isExpertMajor()) {
    groups = b.scratch({blocks, placement.numExperts}, i32);
    groupRows = b.scratch({blocks, placement.numExperts}, i32);
  }
}

void DispatchKernel::lower() {
  b.phase("prepare");
  prepare();
  allocate();
  b.launch([&] {
    std::tie(first, end) = b.blockRange(numTokens);
    epoch = b.add(b.load(epochCounter, b.index(0)), b.i64(1));
    if (op.isReuse() || isSlab()) {
      // This rank is done with the rows of its last run.
      b.phase("ready");
      b.onFirstBlock([&] {
        b.forPeers([&](Value peer) {
          symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
        });
      });
    }
    if (!op.isReuse()) {
      b.phase("route");
      routeTokens();
      b.phase("count");
      countRows();
      symm::GridBarrierOp::create(b, barrierCounter);
      b.phase("exchange");
      publishCounts();
    }
    b.forThreads(b.index(b.numRanks()), [&](Value peer) {
      symm::WaitOp::create(b, arrived, peer, peer, epoch);
    });
    b.syncBlock();
    if (!op.isReuse()) {
      b.phase("place");
      place();
    }
    b.phase("put");
    putTokens();
    b.phase("complete");
    complete();
  });
}

/// One thread per (token, slot) of the block.
void DispatchKernel::routeTokens() {
  Value sendRow = op.getOutput(Output::SendRow);
  Value perToken = b.index(topK);
  Value entries = b.mul(b.sub(end, first), perToken);
  b.forThreads(entries, [&](Value i) {
    Value token = b.add(first, arith::DivUIOp::create(b, i, perToken));
    Value k = arith::RemUIOp::create(b, i, perToken);
    routeSlot(token, k);
    // Slots that no row has; those that one has are numbered below.
    if (op.isExpertMajor())
      b.store(b.i32(-1), sendRow, {token, k});
    else if (keyIsExpert())
      b.loop(b.numRanks(),
             [&](Value peer) { b.store(b.i32(-1), sendRow, {token, peer}); });
  });
  b.syncBlock();
}

/// One subgroup per key, one lane per token.
void DispatchKernel::countRows() {
  Value sendRow = op.getOutput(Output::SendRow);
  Value zero = b.index(0);
  b.forSubgroups(zero, b.index(numKeys()), [&](Value key) {
    auto tokens = scf::ForOp::create(b, first, end, b.index(kSubgroupSize),
                                     ValueRange{zero});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(tokens.getBody());
      Value running = tokens.getRegionIterArg(0);
      Value token = b.add(tokens.getInductionVar(), b.lane());
      Value isToken = b.cmp(Pred::ult, token, end);
      // Does the token have a row for the key, and in which slot?
      auto look = scf::IfOp::create(
          b, TypeRange{b.getI1Type(), b.getIndexType()}, isToken,
          /*withElseRegion=*/true);
      {
        OpBuilder::InsertionGuard inner(b);
        b.setInsertionPointToStart(look.thenBlock());
        SmallVector<Value> found = b.reduce(
            zero, b.index(topK), {b.integer(b.getI1Type(), 0), zero},
            [&](Value k, ValueRange carried) -> SmallVector<Value> {
              Value expert = b.loadIndex(expertOf, {token, k});
              Value isKey;
              if (keyIsExpert()) {
                isKey = b.cmp(Pred::eq, expert, key);
              } else {
                Value next = b.add(key, b.index(1));
                isKey = b.both(
                    b.cmp(Pred::sge, expert, b.firstExpert(key, placement)),
                    b.cmp(Pred::slt, expert, b.firstExpert(next, placement)));
              }
              return {arith::OrIOp::create(b, carried[0], isKey),
                      b.select(isKey, k, carried[1])};
            });
        scf::YieldOp::create(b, found);
        b.setInsertionPointToStart(look.elseBlock());
        scf::YieldOp::create(b, ValueRange{b.integer(b.getI1Type(), 0), zero});
      }
      Value hasRow = look.getResult(0);
      Value mask = b.ballot(hasRow);
      Value number = b.add(running, b.countBits(b.bitsBelow(mask)));
      if (keyIsExpert()) {
        Value slot =
            op.isExpertMajor() ? look.getResult(1) : b.owner(key, placement);
        b.ifThen(hasRow, [&] { b.storeIndex(number, sendRow, {token, slot}); });
      } else {
        b.ifThen(isToken, [&] {
          b.storeIndex(b.select(hasRow, number, b.index(-1)), sendRow,
                       {token, key});
        });
      }
      scf::YieldOp::create(b, b.add(running, b.countBits(mask)));
    }
    b.ifThen(b.cmp(Pred::eq, b.lane(), zero), [&] {
      b.storeIndex(tokens.getResult(0), blockCounts, {b.block(), key});
    });
  });
}

/// One block adds up the counts of all and sends them to every rank. A rank
/// that has recorded an error sends -1 instead.
void DispatchKernel::publishCounts() {
  Value zero = b.index(0);
  Value toRank = op.getOutput(Output::TokensToRank);
  b.onFirstBlock([&] {
    b.forThreads(b.index(numKeys()), [&](Value key) {
      b.storeIndex(countOfBlocks(key, b.numBlocks()), counts, {zero, key});
    });
    b.syncBlock();
    b.forThreads(b.index(b.numRanks()),
                 [&](Value peer) { storeTokensToRank(peer); });
    if (isSlab())
      return;
    // All threads have to see the same: one looks.
    b.onThread(zero, [&] {
      Value failed = symm::FailedOp::create(b, b.getI1Type());
      b.store(b.select(failed, b.i32(-1), b.i32(0)), status, zero);
    });
    b.syncBlock();
    Value failed = b.cmp(Pred::slt, b.load(status, zero), b.i32(0));
    Value perRank = b.index(numExchanged());
    b.forThreads(b.index(b.numRanks() * numExchanged()), [&](Value i) {
      Value peer = arith::DivUIOp::create(b, i, perRank);
      Value key = arith::RemUIOp::create(b, i, perRank);
      Value count = op.isExpertMajor() ? b.load(counts, {zero, key})
                                       : b.load(toRank, {key});
      Value there = symm::PeerOp::create(b, all, peer);
      b.store(b.select(failed, b.i32(-1), count), there, {b.me(), key});
    });
    b.syncBlock();
    b.forThreads(b.index(b.numRanks()), [&](Value peer) {
      symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
    });
  });
}

/// Rows of the first `blocks` blocks of this rank with key `key`.
Value DispatchKernel::countOfBlocks(Value key, Value blocks) {
  return b.reduce(b.index(0), blocks, b.index(0),
                  [&](Value block, ValueRange sum) -> SmallVector<Value> {
                    return {
                        b.add(sum[0], b.loadIndex(blockCounts, {block, key}))};
                  })[0];
}

/// rank_major: one thread per destination.
void DispatchKernel::placeByRank() {
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    auto [before, total] = sumOfSenders(all, peer);
    b.storeIndex(total, needed, {b.block(), peer});
    if (!keyIsExpert())
      return b.storeIndex(b.add(before, countOfLowerBlocks(peer)), blockStart,
                          {b.block(), peer});
    // Within a sender the rows are ordered by expert, then by block.
    auto [first, last] = expertsOf(peer);
    b.reduce(first, last, before,
             [&](Value expert, ValueRange carried) -> SmallVector<Value> {
               Value start = b.add(carried[0], countOfLowerBlocks(expert));
               b.storeIndex(start, blockStart, {b.block(), expert});
               return {b.add(carried[0], countOfBlocks(expert, b.numBlocks()))};
             });
  });
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value sender) {
      b.store(b.load(all, {sender, b.me()}),
              op.getOutput(Output::TokensFromRank), {sender});
    });
  });
}

/// expert_major: one thread per expert for the sums, one per rank for the
/// groups, which follow one another.
void DispatchKernel::placeByExpert() {
  Value zero = b.index(0);
  Value numExperts = b.index(placement.numExperts);
  b.forThreads(numExperts, [&](Value expert) {
    auto [before, total] = sumOfSenders(all, expert);
    b.storeIndex(total, groupRows, {b.block(), expert});
    b.storeIndex(b.add(before, countOfLowerBlocks(expert)), blockStart,
                 {b.block(), expert});
  });
  b.syncBlock();
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    Value first, last, groupsEnd, used;
    std::tie(first, last) = expertsOf(peer);
    std::tie(groupsEnd, used) = placeGroups(
        first, last,
        [&](Value expert) {
          return b.loadIndex(groupRows, {b.block(), expert});
        },
        [&](Value expert, Value group, Value) {
          b.storeIndex(group, groups, {b.block(), expert});
        });
    b.storeIndex(used, needed, {b.block(), peer});
    if (placement.remainder() == 0)
      return;
    b.onFirstBlock([&] {
      b.ifThen(b.cmp(Pred::eq, peer, b.me()),
               [&] { storeSurplus(b.sub(last, first), groupsEnd); });
    });
  });
  b.syncBlock();
  b.forThreads(numExperts, [&](Value expert) {
    Value group = b.loadIndex(groups, {b.block(), expert});
    Value start = b.loadIndex(blockStart, {b.block(), expert});
    b.storeIndex(b.add(group, start), blockStart, {b.block(), expert});
  });
  b.onFirstBlock([&] {
    Value own, ownEnd;
    std::tie(own, ownEnd) = expertsOf(b.me());
    b.forThreads(b.sub(ownEnd, own), [&](Value local) {
      Value expert = b.add(own, local);
      b.store(b.load(groups, {zero, expert}),
              op.getOutput(Output::ExpertOffsets), {local});
      b.store(b.load(groupRows, {zero, expert}),
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

/// Fills `blockStart`. When a rank has failed, or needs more rows than fit, no
/// row is put: the block's range of tokens becomes empty.
void DispatchKernel::place() {
  Value zero = b.index(0);
  if (isSlab()) {
    Value slab = b.mul(b.me(), b.index(op.getTokenBound()));
    b.forThreads(b.index(numKeys()), [&](Value key) {
      b.storeIndex(b.add(slab, countOfLowerBlocks(key)), blockStart,
                   {b.block(), key});
    });
    b.syncBlock();
    return;
  }
  if (op.isExpertMajor())
    placeByExpert();
  else
    placeByRank();
  b.syncBlock();

  Value ok =
      b.reduce(zero, b.index(b.numRanks()), b.integer(b.getI1Type(), 1),
               [&](Value rank, ValueRange carried) -> SmallVector<Value> {
                 Value isAlive =
                     b.cmp(Pred::sge, b.load(all, {rank, zero}), b.i32(0));
                 Value ok = b.both(carried[0], isAlive);
                 if (op.getOverflow() == Overflow::error) {
                   Value rows = b.loadIndex(needed, {b.block(), rank});
                   ok = b.both(ok, b.cmp(Pred::ule, rows, b.index(capacity)));
                 }
                 return {ok};
               })[0];
  b.onFirstBlock([&] {
    b.forThreads(b.index(b.numRanks()), [&](Value rank) {
      Value isAlive = b.cmp(Pred::sge, b.load(all, {rank, zero}), b.i32(0));
      b.check(isAlive, symm::Failure::peer_failed, "status of a peer", b.i64(0),
              b.i64(-1), rank);
      if (op.getOverflow() == Overflow::error)
        checkCapacity(b.loadIndex(needed, {b.block(), rank}), rank);
    });
  });
  end = b.select(ok, end, first);
}

/// Row and rank of a slot's row, -1 without one; notes it in `send_row`.
std::pair<Value, Value> DispatchKernel::findRow(Value token, Value slot) {
  if (op.isReuse())
    return findReusedRow(token, slot);
  Value none = b.index(-1);
  Value sendRow = op.getOutput(Output::SendRow);
  Value number = b.loadIndex(sendRow, {token, slot});
  auto [peer, key] = peerAndKey(token, slot);
  // A slot without a row may name no expert.
  Value zero = b.index(0);
  Value hasRow = b.cmp(Pred::sge, number, zero);
  Value safeKey = b.select(hasRow, key, zero);
  Value row = b.add(b.loadIndex(blockStart, {b.block(), safeKey}), number);
  // Without errors only `drop` exceeds the capacity; with one, counts of other
  // ranks are not to be trusted.
  Value isKept = b.both(hasRow, b.cmp(Pred::ult, row, b.index(capacity)));
  row = b.select(isKept, row, none);
  b.storeIndex(row, sendRow, {token, slot});
  return {row, b.select(isKept, peer, zero)};
}

std::pair<Value, Value> DispatchKernel::findReusedRow(Value token, Value slot) {
  Value none = b.index(-1), zero = b.index(0);
  Value row = b.loadIndex(op.getReuse().front(), {token, slot});
  Value inRange = b.both(b.cmp(Pred::sge, row, none),
                         b.cmp(Pred::slt, row, b.index(capacity)));
  b.check(inRange, symm::Failure::invalid_count, "send_row",
          b.index(capacity - 1), row);
  row = b.select(inRange, row, none);
  if (!op.isExpertMajor())
    return {row, slot};
  Value expert = b.loadIndex(op.getRoutingTopkIdx(), {token, slot});
  Value hasRow = b.cmp(Pred::sge, row, zero);
  Value isExpert = b.cmp(Pred::ult, expert, b.index(placement.numExperts));
  Value isFine = arith::OrIOp::create(b, isExpert, b.cmp(Pred::slt, row, zero));
  b.check(isFine, symm::Failure::invalid_expert, "expert id",
          b.index(placement.numExperts - 1), expert);
  Value isKept = b.both(hasRow, isExpert);
  Value safe = b.select(isKept, expert, zero);
  return {b.select(isKept, row, none), b.owner(safe, placement)};
}

/// One subgroup per token, one lane per slot.
void DispatchKernel::putTokens() {
  Value minusOne = b.index(-1);
  b.forSubgroups(first, end, [&](Value token) {
    Value rotation = b.add(b.add(b.me(), b.subgroup()), b.index(1));
    for (int64_t base = 0; base < numSlots(); base += kSubgroupSize) {
      int64_t lanes = std::min(kSubgroupSize, numSlots() - base);
      Value slot = b.add(b.index(base), b.lane());
      Value isSlot = b.cmp(Pred::ult, b.lane(), b.index(lanes));
      auto find = scf::IfOp::create(
          b, TypeRange{b.getIndexType(), b.getIndexType()}, isSlot,
          /*withElseRegion=*/true);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(find.thenBlock());
        auto [row, peer] = findRow(token, slot);
        if (!op.isReuse())
          b.ifThen(b.cmp(Pred::sge, row, b.index(0)),
                   [&, row = row, peer = peer] {
                     putMetadata(token, slot, peer, row);
                   });
        scf::YieldOp::create(b, ValueRange{row, peer});
        b.setInsertionPointToStart(find.elseBlock());
        scf::YieldOp::create(b, ValueRange{minusOne, b.index(0)});
      }
      Value row = find.getResult(0), peer = find.getResult(1);
      symm::PutEachOp::create(b, x, token, op.getOutput(Output::RecvX), row,
                              peer, rotation, lanes);
      if (scales)
        symm::PutEachOp::create(b, scales, token,
                                op.getOutput(Output::RecvScales), row, peer,
                                rotation, lanes);
    }
  });
}

/// The last block to get here tells all ranks that their rows are there and
/// waits for those of this rank.
void DispatchKernel::complete() {
  Value zero = b.index(0);
  Value last = symm::GridArriveOp::create(b, b.getI1Type(), doneCounter);
  b.ifThen(last, [&] {
    b.forPeers([&](Value peer) {
      if (slabCounts)
        b.store(b.load(counts, {zero, peer}),
                symm::PeerOp::create(b, slabCounts, peer), {b.me()});
      symm::SignalOp::create(b, done, b.me(), peer, epoch);
      symm::WaitOp::create(b, done, peer, peer, epoch);
      if (slabCounts)
        b.store(b.load(slabCounts, {peer}),
                op.getOutput(Output::TokensFromRank), {peer});
    });
    b.onThread(zero, [&] { b.store(epoch, epochCounter, {zero}); });
  });
}
