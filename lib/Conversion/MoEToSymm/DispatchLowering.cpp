//===- DispatchLowering.cpp - lower moe.dispatch --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// The protocol of a dispatch. Rows for one destination are told apart by a
/// *key*: the destination rank, or the expert where rows are ordered by expert.
/// Counting numbers the rows of this rank per key; placing finds the row at
/// which the rows of this rank with a given key start on their destination; a
/// row's final place is the sum of the two. So every row is read once and
/// stored once, and the order of rows depends on the routing alone.
///
//===----------------------------------------------------------------------===//

#include "ProtocolBuilder.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

using Output = DispatchOp::Output;

class DispatchLowering {
public:
  DispatchLowering(DispatchOp op, ProtocolBuilder &b)
      : op(op), b(b),
        placement{static_cast<int64_t>(op.getNumExperts()), b.numRanks()},
        capacity(op.getNumRows(b.numRanks())), topK(op.getTopK()) {}

  void lower();

private:
  bool keyIsExpert() {
    return op.isExpertMajor() || op.getOrder() == Order::expert;
  }
  int64_t numKeys() {
    return keyIsExpert() ? placement.numExperts : placement.numRanks;
  }
  /// Entries of `send_row` per token: ranks, or top-k slots.
  int64_t numSlots() { return op.isExpertMajor() ? topK : b.numRanks(); }
  /// A row number that fits the receive buffer?
  Value fits(Value row) {
    return b.cmp(ProtocolBuilder::Pred::ult, row, b.index(capacity));
  }

  Value checkedTokens() {
    return b.checkedTokens(x, op.getTokenBound(),
                           op.getX().getType().isDynamicDim(0));
  }
  void route();
  void count();
  void exchangeAndPlace();
  void placeByRank(Value all);
  void placeByExpert(Value all);
  void put();
  void putReused();
  void putRow(Value token, Value slot, Value peer, Value row);
  void complete();

  void forEachExpertOf(Value rank, llvm::function_ref<void(Value)> body) {
    b.loop(b.firstExpert(rank, placement),
           b.firstExpert(b.add(rank, b.index(1)), placement), body);
  }
  Value sumOverExpertsOf(Value rank, llvm::function_ref<Value(Value)> count);

  DispatchOp op;
  ProtocolBuilder &b;
  ExpertPlacement placement;
  int64_t capacity;
  int64_t topK;

  Value x, scales; ///< with contiguous rows
  Value numTokens; ///< T
  Value expertOf;  ///< T×K: expert ids, repeated ones replaced by -1
  Value weightOf;  ///< T×K: their weights, those of repeats added up
  Value counts;    ///< 1×keys: rows of this rank per key
  Value start;     ///< keys: first row of this rank on the destination
};

} // namespace

void moe::lowerDispatch(DispatchOp op, ProtocolBuilder &b) {
  DispatchLowering(op, b).lower();
}

void DispatchLowering::lower() {
  x = b.withContiguousRows(op.getX());
  if (Value value = op.getScales())
    scales = b.withContiguousRows(value);
  if (op.isReuse()) {
    b.phase("ready");
    numTokens = checkedTokens();
    b.barrier();
    b.phase("put");
    putReused();
    b.phase("complete");
    complete();
    return;
  }
  b.phase("route");
  numTokens = checkedTokens();
  route();
  b.phase("count");
  count();
  exchangeAndPlace();
  b.phase("put");
  put();
  b.phase("complete");
  complete();
}

/// Fills `expertOf` and `weightOf`: checks the ids (placement_s2) and merges
/// repeated experts into their first occurrence (placement_s3).
void DispatchLowering::route() {
  using Pred = ProtocolBuilder::Pred;
  auto idxType = cast<MemRefType>(op.getTopkIdx().getType());
  Type id = idxType.getElementType();
  Type f32 = b.getF32Type();
  SmallVector<Value> dynamicSizes;
  if (idxType.isDynamicDim(0))
    dynamicSizes.push_back(numTokens);
  expertOf = b.scratch(idxType.getShape(), id, dynamicSizes);
  weightOf = b.scratch(idxType.getShape(), f32, dynamicSizes);
  Value none = b.integer(id, -1);
  Value last = b.integer(id, placement.numExperts - 1);
  Value zero = arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  Value one = b.index(1);

  b.loop(numTokens, [&](Value token) {
    b.loop(topK, [&](Value k) {
      Value expert = b.load(op.getTopkIdx(), {token, k});
      Value inRange = b.both(b.cmp(Pred::sge, expert, none),
                             b.cmp(Pred::sle, expert, last));
      b.check(inRange, symm::Failure::invalid_expert, "expert id", last,
              expert);
      Value weight = b.load(op.getTopkWeights(), {token, k});
      if (topK > 1) {
        Value isFirst = b.reduce(
            b.index(0), k, b.integer(b.getI1Type(), 1),
            [&](Value earlier, ValueRange carried) -> SmallVector<Value> {
              Value other = b.load(op.getTopkIdx(), {token, earlier});
              return {b.both(carried[0], b.cmp(Pred::ne, other, expert))};
            })[0];
        weight = b.reduce(
            b.add(k, one), b.index(topK), weight,
            [&](Value later, ValueRange carried) -> SmallVector<Value> {
              Value other = b.load(op.getTopkIdx(), {token, later});
              Value more = b.load(op.getTopkWeights(), {token, later});
              Value sum = arith::AddFOp::create(b, carried[0], more);
              return {
                  b.select(b.cmp(Pred::eq, other, expert), sum, carried[0])};
            })[0];
        expert = b.select(isFirst, expert, none);
      }
      Value isNone = b.cmp(Pred::eq, expert, none);
      b.store(expert, expertOf, {token, k});
      b.store(b.select(isNone, zero, weight), weightOf, {token, k});
    });
  });
}

/// Numbers the rows of this rank per key: `send_row` is the number of the row
/// among those with its key, `counts` how many there are.
void DispatchLowering::count() {
  using Pred = ProtocolBuilder::Pred;
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
        if (op.getOrder() == Order::expert) // K = 1: no second expert there
          return take(token, peer, expert);
        Value isFirst =
            b.cmp(Pred::slt, b.load(sendRow, {token, peer}), b.i32(0));
        b.ifThen(isFirst, [&] { take(token, peer, peer); });
      });
    });
  });

  Value toRank = op.getOutput(Output::TokensToRank);
  b.loop(b.numRanks(), [&](Value peer) {
    if (!keyIsExpert())
      return b.store(b.load(counts, {zero, peer}), toRank, {peer});
    b.storeIndex(sumOverExpertsOf(peer,
                                  [&](Value expert) {
                                    return b.loadIndex(counts, {zero, expert});
                                  }),
                 toRank, {peer});
  });
}

Value DispatchLowering::sumOverExpertsOf(
    Value rank, llvm::function_ref<Value(Value)> count) {
  return b.reduce(b.firstExpert(rank, placement),
                  b.firstExpert(b.add(rank, b.index(1)), placement), b.index(0),
                  [&](Value expert, ValueRange carried) -> SmallVector<Value> {
                    return {b.add(carried[0], count(expert))};
                  })[0];
}

void DispatchLowering::exchangeAndPlace() {
  if (op.getLayout() == Layout::slab) {
    // Every sender has a slab of its own: no counts are needed, only the
    // certainty that the receivers are done with their rows of the last run.
    b.phase("ready");
    b.barrier();
    start = b.scratch({numKeys()}, b.getI32Type());
    Value slab = b.mul(b.me(), b.index(op.getTokenBound()));
    b.loop(numKeys(), [&](Value key) { b.storeIndex(slab, start, {key}); });
    return;
  }
  b.phase("exchange");
  Value zero = b.index(0);
  Value mine = counts;
  if (keyIsExpert() && !op.isExpertMajor()) {
    // The order within a sender concerns nobody else.
    mine = b.scratch({1, b.numRanks()}, b.getI32Type());
    b.loop(b.numRanks(), [&](Value peer) {
      b.store(b.load(op.getOutput(Output::TokensToRank), {peer}), mine,
              {zero, peer});
    });
  }
  Value all = b.allGatherCounts(mine);
  b.phase("place");
  start = b.scratch({numKeys()}, b.getI32Type());
  if (op.isExpertMajor())
    placeByExpert(all);
  else
    placeByRank(all);
}

/// rank_major: rows of lower senders come first. `all` is R×R.
void DispatchLowering::placeByRank(Value all) {
  using Pred = ProtocolBuilder::Pred;
  Value zero = b.index(0);
  b.loop(b.numRanks(), [&](Value peer) {
    SmallVector<Value> sums =
        b.reduce(zero, b.index(b.numRanks()), {zero, zero},
                 [&](Value sender, ValueRange carried) -> SmallVector<Value> {
                   Value rows = b.loadIndex(all, {sender, peer});
                   Value isLower = b.cmp(Pred::ult, sender, b.me());
                   return {b.add(carried[0], b.select(isLower, rows, zero)),
                           b.add(carried[1], rows)};
                 });
    Value before = sums[0], total = sums[1];
    if (op.getOverflow() == Overflow::error)
      b.check(b.cmp(Pred::ule, total, b.index(capacity)),
              symm::Failure::capacity_exceeded, "rows received",
              b.index(capacity), total, peer);
    if (!keyIsExpert())
      return b.storeIndex(before, start, {peer});
    // Within a sender the rows are ordered by expert.
    b.reduce(b.firstExpert(peer, placement),
             b.firstExpert(b.add(peer, b.index(1)), placement), before,
             [&](Value expert, ValueRange carried) -> SmallVector<Value> {
               b.storeIndex(carried[0], start, {expert});
               return {b.add(carried[0], b.loadIndex(counts, {zero, expert}))};
             });
  });
  b.loop(b.numRanks(), [&](Value sender) {
    b.store(b.load(all, {sender, b.me()}), op.getOutput(Output::TokensFromRank),
            {sender});
  });
}

/// expert_major: groups of rows per expert, each aligned; in a group, rows of
/// lower senders come first. `all` is R×E.
void DispatchLowering::placeByExpert(Value all) {
  using Pred = ProtocolBuilder::Pred;
  Value zero = b.index(0);
  Value one = b.index(1);
  int64_t alignment = op.getAlignment();
  Value offsets = op.getOutput(Output::ExpertOffsets);
  Value groupCounts = op.getOutput(Output::ExpertCounts);

  b.loop(b.numRanks(), [&](Value peer) {
    Value first = b.firstExpert(peer, placement);
    Value end = b.firstExpert(b.add(peer, one), placement);
    Value isMe = b.cmp(Pred::eq, peer, b.me());
    // Carries the end of the last group, and of the last group with rows.
    SmallVector<Value> ends =
        b.reduce(first, end, {zero, zero},
                 [&](Value expert, ValueRange carried) -> SmallVector<Value> {
                   Value group = b.alignUp(carried[0], alignment);
                   SmallVector<Value> sums = b.reduce(
                       zero, b.index(b.numRanks()), {zero, zero},
                       [&](Value sender, ValueRange sum) -> SmallVector<Value> {
                         Value rows = b.loadIndex(all, {sender, expert});
                         Value isLower = b.cmp(Pred::ult, sender, b.me());
                         return {b.add(sum[0], b.select(isLower, rows, zero)),
                                 b.add(sum[1], rows)};
                       });
                   Value before = sums[0], total = sums[1];
                   b.storeIndex(b.add(group, before), start, {expert});
                   b.ifThen(isMe, [&] {
                     Value local = b.sub(expert, first);
                     b.storeIndex(group, offsets, {local});
                     b.storeIndex(total, groupCounts, {local});
                   });
                   Value groupEnd = b.add(group, total);
                   Value isEmpty = b.cmp(Pred::eq, total, zero);
                   return {groupEnd, b.select(isEmpty, carried[1], groupEnd)};
                 });
    if (op.getOverflow() == Overflow::error)
      b.check(b.cmp(Pred::ule, ends[1], b.index(capacity)),
              symm::Failure::capacity_exceeded, "rows received",
              b.index(capacity), ends[1], peer);
    if (placement.remainder() == 0)
      return;
    // Ranks with one expert less: the surplus entry of their outputs.
    b.ifThen(isMe, [&] {
      b.loop(b.sub(end, first), b.index(placement.maxPerRank()),
             [&](Value local) {
               b.storeIndex(b.alignUp(ends[0], alignment), offsets, {local});
               b.storeIndex(zero, groupCounts, {local});
             });
    });
  });
  b.loop(b.numRanks(), [&](Value sender) {
    Value rows = sumOverExpertsOf(b.me(), [&](Value expert) {
      return b.loadIndex(all, {sender, expert});
    });
    b.storeIndex(rows, op.getOutput(Output::TokensFromRank), {sender});
  });
}

/// Moves every row to its final place and turns `send_row` from numbers into
/// rows.
void DispatchLowering::put() {
  using Pred = ProtocolBuilder::Pred;
  Value sendRow = op.getOutput(Output::SendRow);
  auto putSlot = [&](Value token, Value slot) {
    Value number = b.loadIndex(sendRow, {token, slot});
    b.ifThen(b.cmp(Pred::sge, number, b.index(0)), [&] {
      Value key = slot, peer = slot;
      if (keyIsExpert())
        key = b.loadIndex(expertOf,
                          {token, op.isExpertMajor() ? slot : b.index(0)});
      if (op.isExpertMajor())
        peer = b.owner(key, placement);
      Value row = b.add(b.loadIndex(start, {key}), number);
      if (op.getOverflow() == Overflow::error ||
          op.getLayout() == Layout::slab) {
        putRow(token, slot, peer, row);
        b.storeIndex(row, sendRow, {token, slot});
        return;
      }
      Value isKept = fits(row);
      b.ifThen(isKept, [&] { putRow(token, slot, peer, row); });
      b.store(b.select(isKept, b.fromIndex(row, b.getI32Type()), b.i32(-1)),
              sendRow, {token, slot});
    });
  };
  b.loop(numTokens, [&](Value token) {
    if (op.isExpertMajor())
      b.loop(topK, [&](Value k) { putSlot(token, k); });
    else
      b.forEachPeer([&](Value peer) { putSlot(token, peer); });
  });
}

/// reuse: `send_row` says where rows go.
void DispatchLowering::putReused() {
  using Pred = ProtocolBuilder::Pred;
  Value sendRow = op.getReuse().front();
  Value topkIdx = op.getRoutingTopkIdx();
  Value none = b.index(-1);
  auto putSlot = [&](Value token, Value slot) {
    Value row = b.loadIndex(sendRow, {token, slot});
    b.check(b.both(b.cmp(Pred::sge, row, none),
                   b.cmp(Pred::slt, row, b.index(capacity))),
            symm::Failure::invalid_count, "send_row", b.index(capacity - 1),
            row);
    b.ifThen(b.cmp(Pred::sge, row, b.index(0)), [&] {
      Value peer = slot;
      if (op.isExpertMajor()) {
        Value expert = b.loadIndex(topkIdx, {token, slot});
        b.check(b.cmp(Pred::ult, expert, b.index(placement.numExperts)),
                symm::Failure::invalid_expert, "expert id",
                b.index(placement.numExperts - 1), expert);
        peer = b.owner(expert, placement);
      }
      putRow(token, slot, peer, row);
    });
  };
  b.loop(numTokens, [&](Value token) {
    if (op.isExpertMajor())
      b.loop(topK, [&](Value k) { putSlot(token, k); });
    else
      b.forEachPeer([&](Value peer) { putSlot(token, peer); });
  });
}

/// One row with everything that travels with it.
void DispatchLowering::putRow(Value token, Value slot, Value peer, Value row) {
  using Pred = ProtocolBuilder::Pred;
  symm::PutOp::create(b, x, token, op.getOutput(Output::RecvX), row, peer,
                      /*count=*/Value());
  if (scales)
    symm::PutOp::create(b, scales, token, op.getOutput(Output::RecvScales), row,
                        peer, /*count=*/Value());
  if (op.isReuse())
    return;

  auto at = [&](Output kind) -> Value {
    return symm::PeerOp::create(b, op.getOutput(kind), peer);
  };
  Value idx = at(Output::RecvTopkIdx);
  Value weights = at(Output::RecvTopkWeights);
  if (op.isExpertMajor()) {
    b.store(b.load(expertOf, {token, slot}), idx, {row});
    b.store(b.load(weightOf, {token, slot}), weights, {row});
  } else {
    // Experts of other ranks are of no interest there (dispatch_s2).
    Value first = b.firstExpert(peer, placement);
    Value end = b.firstExpert(b.add(peer, b.index(1)), placement);
    Type id = cast<MemRefType>(idx.getType()).getElementType();
    Value zero =
        arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
    b.loop(topK, [&](Value k) {
      Value value = b.load(expertOf, {token, k});
      Value expert = b.toIndex(value);
      Value isThere = b.both(b.cmp(Pred::sge, expert, first),
                             b.cmp(Pred::slt, expert, end));
      b.store(b.select(isThere, value, b.integer(id, -1)), idx, {row, k});
      b.store(b.select(isThere, b.load(weightOf, {token, k}), zero), weights,
              {row, k});
    });
  }
  Value source = b.add(b.mul(b.me(), b.index(op.getTokenBound())), token);
  b.storeIndex(source, at(Output::RecvSrcIdx), {row});
}

/// Tells every rank that its rows are there and waits for those of this rank.
void DispatchLowering::complete() {
  Value done = b.flags();
  if (op.isReuse() || op.getLayout() != Layout::slab) {
    b.signalAll(done);
    b.waitAll(done);
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
}
