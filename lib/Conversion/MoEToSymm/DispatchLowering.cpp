//===- DispatchLowering.cpp - lower moe.dispatch --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A dispatch as the work of one thread: the schedule for CPUs.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/DispatchPadding.h"
#include "../MoEProtocols/DispatchProtocol.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

namespace {

class DispatchLowering : public DispatchProtocol {
public:
  using DispatchProtocol::DispatchProtocol;

  void lower();

private:
  void route();
  void count();
  void exchangeAndPlace();
  void placeByRank(Value all);
  void placeByExpert(Value all);
  /// Lays out the groups of experts first .. last - 1, those of one rank
  /// (dispatch_s4); calls `emit(expert, first row, rows)` for each. Returns the
  /// end of the last group, and of the last one that has rows.
  std::pair<Value, Value>
  placeGroups(Value first, Value last, llvm::function_ref<Value(Value)> rowsOf,
              llvm::function_ref<void(Value, Value, Value)> emit);
  /// Sum of `count(expert)` over the experts of `rank`.
  Value sumOverExpertsOf(Value rank, llvm::function_ref<Value(Value)> count);
  /// Writes `n_tokens_to_rank` of `peer` from `counts`.
  void storeTokensToRank(Value peer);
  void put();
  void putReused();
  void putRow(Value token, Value slot, Value peer, Value row);
  void complete();
  /// `body(token, slot)` for all slots; ranks in rotated order.
  void forEachSlot(llvm::function_ref<void(Value, Value)> body);

  Value start; ///< keys: first row of this rank on the destination
  std::optional<DispatchPadding> padding;
};

} // namespace

void moe::lowerDispatch(DispatchOp op, ProtocolBuilder &b) {
  DispatchLowering(op, b).lower();
}

void DispatchLowering::lower() {
  b.phase(op.isReuse() ? "ready" : "route");
  prepare();
  if (op.hasZeroPadding())
    padding.emplace(op, b);
  if (op.isReuse()) {
    if (padding)
      padding->allocateRuns();
    b.barrier();
    b.phase("put");
    putReused();
  } else {
    route();
    b.phase("count");
    count();
    exchangeAndPlace();
    b.phase("put");
    put();
  }
  b.phase("complete");
  complete();
}

void DispatchLowering::route() {
  allocateRouting();
  b.loop(numTokens, [&](Value token) {
    b.loop(topK, [&](Value k) { routeSlot(token, k); });
  });
}

/// Numbers the rows of this rank per key: `send_row` is the number of the row
/// among those with its key, `counts` how many there are.
void DispatchLowering::count() {
  Value sendRow = op.getOutput(Output::SendRow);
  Value zero = b.index(0);
  counts = b.scratch({1, numKeys()}, b.getI32Type());
  b.fill(counts, 0);
  b.fill(sendRow, -1);

  auto take = [&](Value token, Value slot, Value key) {
    Value number = b.load(counts, {zero, key});
    b.store(number, sendRow, {token, slot});
    b.store(b.add(number, b.i32(1)), counts, {zero, key});
  };
  b.loop(numTokens, [&](Value token) {
    b.loop(topK, [&](Value k) {
      Value expert = b.loadIndex(expertOf, {token, k});
      b.ifThen(b.cmp(Pred::sge, expert, zero), [&] {
        if (op.isExpertMajor())
          return take(token, k, expert);
        Value peer = b.owner(expert, placement);
        if (keyIsExpert()) // K = 1: no second expert there
          return take(token, peer, expert);
        Value isFirst =
            b.cmp(Pred::slt, b.load(sendRow, {token, peer}), b.i32(0));
        b.ifThen(isFirst, [&] { take(token, peer, peer); });
      });
    });
  });
  b.loop(b.numRanks(), [&](Value peer) { storeTokensToRank(peer); });
}

Value DispatchLowering::sumOverExpertsOf(
    Value rank, llvm::function_ref<Value(Value)> count) {
  auto [first, last] = expertsOf(rank);
  return b.reduce(first, last, b.index(0),
                  [&](Value expert, ValueRange carried) -> SmallVector<Value> {
                    return {b.add(carried[0], count(expert))};
                  })[0];
}

void DispatchLowering::storeTokensToRank(Value peer) {
  Value zero = b.index(0);
  Value toRank = op.getOutput(Output::TokensToRank);
  if (!keyIsExpert())
    return b.store(b.load(counts, {zero, peer}), toRank, {peer});
  Value rows = sumOverExpertsOf(
      peer, [&](Value expert) { return b.loadIndex(counts, {zero, expert}); });
  b.storeIndex(rows, toRank, {peer});
}

void DispatchLowering::exchangeAndPlace() {
  auto allocateStart = [&] { start = b.scratch({numKeys()}, b.getI32Type()); };
  if (isSlab()) {
    // Every sender has a slab of its own: no counts are needed, only the
    // certainty that the receivers are done with their rows of the last run.
    b.phase("ready");
    b.barrier();
    allocateStart();
    Value slab = b.mul(b.me(), b.index(op.getTokenBound()));
    b.loop(numKeys(), [&](Value key) { b.storeIndex(slab, start, {key}); });
    return;
  }
  b.phase("exchange");
  Value mine = counts;
  if (keyIsExpert() && !op.isExpertMajor()) {
    // The order within a sender concerns nobody else.
    mine = b.scratch({1, b.numRanks()}, b.getI32Type());
    b.loop(b.numRanks(), [&](Value peer) {
      b.store(b.load(op.getOutput(Output::TokensToRank), {peer}), mine,
              {b.index(0), peer});
    });
  }
  Value all = b.allGatherCounts(mine);
  b.phase("place");
  allocateStart();
  if (op.isExpertMajor())
    placeByExpert(all);
  else
    placeByRank(all);
}

/// rank_major: rows of lower senders come first. `all` is R×R.
void DispatchLowering::placeByRank(Value all) {
  b.loop(b.numRanks(), [&](Value peer) {
    auto [before, total] = b.sumOfSenders(all, peer);
    checkCapacity(total, peer);
    if (!keyIsExpert())
      return b.storeIndex(before, start, {peer});
    // Within a sender the rows are ordered by expert.
    auto [first, last] = expertsOf(peer);
    b.reduce(first, last, before,
             [&](Value expert, ValueRange carried) -> SmallVector<Value> {
               b.storeIndex(carried[0], start, {expert});
               Value rows = b.loadIndex(counts, {b.index(0), expert});
               return {b.add(carried[0], rows)};
             });
  });
  b.loop(b.numRanks(), [&](Value sender) {
    b.store(b.load(all, {sender, b.me()}), op.getOutput(Output::TokensFromRank),
            {sender});
  });
}

std::pair<Value, Value> DispatchLowering::placeGroups(
    Value first, Value last, llvm::function_ref<Value(Value)> rowsOf,
    llvm::function_ref<void(Value, Value, Value)> emit) {
  Value zero = b.index(0);
  SmallVector<Value> ends =
      b.reduce(first, last, {zero, zero},
               [&](Value expert, ValueRange carried) -> SmallVector<Value> {
                 Value group = b.alignUp(carried[0], op.getAlignment());
                 Value rows = rowsOf(expert);
                 emit(expert, group, rows);
                 Value end = b.add(group, rows);
                 Value isEmpty = b.cmp(Pred::eq, rows, zero);
                 return {end, b.select(isEmpty, carried[1], end)};
               });
  return {ends[0], ends[1]};
}

/// expert_major: groups of rows per expert; in a group, rows of lower senders
/// come first. `all` is R×E.
void DispatchLowering::placeByExpert(Value all) {
  b.loop(b.numRanks(), [&](Value peer) {
    Value isMe = b.cmp(Pred::eq, peer, b.me());
    Value first, last, before, end, used;
    std::tie(first, last) = expertsOf(peer);
    std::tie(end, used) = placeGroups(
        first, last,
        [&](Value expert) {
          Value total;
          std::tie(before, total) = b.sumOfSenders(all, expert);
          return total;
        },
        [&](Value expert, Value group, Value rows) {
          b.storeIndex(b.add(group, before), start, {expert});
          b.ifThen(isMe, [&] {
            Value local = b.sub(expert, first);
            b.storeIndex(group, op.getOutput(Output::ExpertOffsets), {local});
            b.storeIndex(rows, op.getOutput(Output::ExpertCounts), {local});
          });
        });
    checkCapacity(used, peer);
    if (placement.remainder() != 0)
      b.ifThen(isMe, [&] { storeSurplus(b.sub(last, first), end); });
  });
  b.loop(b.numRanks(), [&](Value sender) {
    Value rows = sumOverExpertsOf(b.me(), [&](Value expert) {
      return b.loadIndex(all, {sender, expert});
    });
    b.storeIndex(rows, op.getOutput(Output::TokensFromRank), {sender});
  });
}

void DispatchLowering::forEachSlot(
    llvm::function_ref<void(Value, Value)> body) {
  b.loop(numTokens, [&](Value token) {
    if (op.isExpertMajor())
      b.loop(topK, [&](Value k) { body(token, k); });
    else
      b.forEachPeer([&](Value peer) { body(token, peer); });
  });
}

/// Moves every row to its final place and turns `send_row` from numbers into
/// rows.
void DispatchLowering::put() {
  Value sendRow = op.getOutput(Output::SendRow);
  bool mayDrop = op.getOverflow() == Overflow::drop && !isSlab();
  forEachSlot([&](Value token, Value slot) {
    Value number = b.loadIndex(sendRow, {token, slot});
    b.ifThen(b.cmp(Pred::sge, number, b.index(0)), [&] {
      auto [peer, key] = peerAndKey(token, slot);
      Value row = b.add(b.loadIndex(start, {key}), number);
      if (!mayDrop) {
        putRow(token, slot, peer, row);
        return b.storeIndex(row, sendRow, {token, slot});
      }
      Value isKept = b.cmp(Pred::ult, row, b.index(capacity));
      b.ifThen(isKept, [&, peer = peer] { putRow(token, slot, peer, row); });
      b.store(b.select(isKept, b.fromIndex(row, b.getI32Type()), b.i32(-1)),
              sendRow, {token, slot});
    });
  });
}

/// reuse: `send_row` says where rows go (dispatch_s10).
void DispatchLowering::putReused() {
  forEachSlot([&](Value token, Value slot) {
    Value row = b.loadIndex(op.getReuse().front(), {token, slot});
    b.check(b.both(b.cmp(Pred::sge, row, b.index(-1)),
                   b.cmp(Pred::slt, row, b.index(capacity))),
            symm::Failure::invalid_count, "send_row",
            {b.index(capacity - 1), row, Value(), b.index(-1), token, slot});
    b.ifThen(b.cmp(Pred::sge, row, b.index(0)), [&] {
      Value peer = slot;
      if (op.isExpertMajor()) {
        Value expert = b.loadIndex(op.getRoutingTopkIdx(), {token, slot});
        b.check(b.cmp(Pred::ult, expert, b.index(placement.numExperts)),
                symm::Failure::invalid_expert, "expert id",
                {b.index(placement.numExperts - 1), expert, Value(), b.index(0),
                 token, slot});
        peer = b.owner(expert, placement);
      }
      putRow(token, slot, peer, row);
    });
  });
}

/// One row with everything that travels with it.
void DispatchLowering::putRow(Value token, Value slot, Value peer, Value row) {
  symm::PutOp::create(b, x, token, op.getOutput(Output::RecvX), row, peer,
                      /*count=*/Value());
  if (scales)
    symm::PutOp::create(b, scales, token, op.getOutput(Output::RecvScales), row,
                        peer, /*count=*/Value());
  if (!op.isReuse())
    putMetadata(token, slot, peer, row);
  else if (padding)
    padding->noteRow(peer, row, b.epoch());
}

/// Tells every rank that its rows are there and waits for those of this rank.
/// What counts tell of empty rows is done before the wait.
void DispatchLowering::complete() {
  Value done = b.flags();
  if (op.isReuse() || !isSlab()) {
    b.signalAll(done);
    if (padding && !op.isReuse()) {
      padding->fillByCounts();
      b.phase("complete");
    }
    b.waitAll(done);
    if (padding && op.isReuse())
      padding->fillByRuns(b.epoch());
    return;
  }
  // The counts of a slab travel last.
  Value received = b.symmetric({b.numRanks()}, b.getI32Type());
  Value epoch = b.epoch();
  b.forEachPeer([&](Value peer) {
    Value there = symm::PeerOp::create(b, received, peer);
    b.store(b.load(counts, {b.index(0), peer}), there, {b.me()});
    symm::SignalOp::create(b, done, b.me(), peer, epoch);
  });
  b.waitAll(done);
  b.loop(b.numRanks(), [&](Value sender) {
    b.store(b.load(received, {sender}), op.getOutput(Output::TokensFromRank),
            {sender});
  });
  if (padding)
    padding->fillByCounts();
}
