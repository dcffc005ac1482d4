//===- SerialDispatch.cpp - a dispatch as the work of one thread ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SerialDispatch.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

void SerialDispatch::route() {
  allocateRouting();
  b.loop(numTokens, [&](Value token) {
    b.loop(topK, [&](Value k) { routeSlot(token, k); });
  });
}

/// Numbers the rows of this rank per key: `send_row` is the number of the row
/// among those with its key, `counts` how many there are.
void SerialDispatch::count() {
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

Value SerialDispatch::sumOverExpertsOf(Value rank,
                                       llvm::function_ref<Value(Value)> count) {
  auto [first, last] = expertsOf(rank);
  return b.reduce(first, last, b.index(0),
                  [&](Value expert, ValueRange carried) -> SmallVector<Value> {
                    return {b.add(carried[0], count(expert))};
                  })[0];
}

void SerialDispatch::storeTokensToRank(Value peer) {
  Value zero = b.index(0);
  Value toRank = op.getOutput(Output::TokensToRank);
  if (!keyIsExpert())
    return b.store(b.load(counts, {zero, peer}), toRank, {peer});
  Value rows = sumOverExpertsOf(
      peer, [&](Value expert) { return b.loadIndex(counts, {zero, expert}); });
  b.storeIndex(rows, toRank, {peer});
}

Value SerialDispatch::exchangeCounts() {
  if (!keyIsExpert() || op.isExpertMajor())
    return b.allGatherCounts(counts);
  // The order within a sender concerns nobody else.
  Value mine = b.scratch({1, b.numRanks()}, b.getI32Type());
  b.loop(b.numRanks(), [&](Value peer) {
    b.store(b.load(op.getOutput(Output::TokensToRank), {peer}), mine,
            {b.index(0), peer});
  });
  return b.allGatherCounts(mine);
}

void SerialDispatch::place(Value all) {
  allocateStart();
  if (op.isExpertMajor())
    placeByExpert(all);
  else
    placeByRank(all);
}

void SerialDispatch::placeInSlabs() {
  allocateStart();
  Value slab = b.mul(b.me(), b.index(op.getTokenBound()));
  b.loop(numKeys(), [&](Value key) { b.storeIndex(slab, start, {key}); });
}

void SerialDispatch::allocateStart() {
  start = b.scratch({numKeys()}, b.getI32Type());
}

/// rank_major: rows of lower senders come first. `all` is R×R.
void SerialDispatch::placeByRank(Value all) {
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

std::pair<Value, Value> SerialDispatch::placeGroups(
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
void SerialDispatch::placeByExpert(Value all) {
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

void SerialDispatch::forEachSlot(llvm::function_ref<void(Value, Value)> body) {
  b.loop(numTokens, [&](Value token) {
    if (op.isExpertMajor())
      b.loop(topK, [&](Value k) { body(token, k); });
    else
      b.forEachPeer([&](Value peer) { body(token, peer); });
  });
}

void SerialDispatch::forEachRow(
    llvm::function_ref<void(const RowPlace &)> move) {
  Value sendRow = op.getOutput(Output::SendRow);
  bool mayDrop = op.getOverflow() == Overflow::drop && !isSlab();
  forEachSlot([&](Value token, Value slot) {
    Value number = b.loadIndex(sendRow, {token, slot});
    b.ifThen(b.cmp(Pred::sge, number, b.index(0)), [&] {
      auto [peer, key] = peerAndKey(token, slot);
      Value row = b.add(b.loadIndex(start, {key}), number);
      RowPlace place = {token, slot, peer, key, row};
      if (!mayDrop) {
        move(place);
        return b.storeIndex(row, sendRow, {token, slot});
      }
      Value isKept = b.cmp(Pred::ult, row, b.index(capacity));
      b.ifThen(isKept, [&] { move(place); });
      b.store(b.select(isKept, b.fromIndex(row, b.getI32Type()), b.i32(-1)),
              sendRow, {token, slot});
    });
  });
}

void SerialDispatch::forEachReusedRow(
    bool isChecked, llvm::function_ref<void(const RowPlace &)> move) {
  forEachSlot([&](Value token, Value slot) {
    Value row = b.loadIndex(op.getReuse().front(), {token, slot});
    if (!isChecked)
      b.check(b.both(b.cmp(Pred::sge, row, b.index(-1)),
                     b.cmp(Pred::slt, row, b.index(capacity))),
              symm::Failure::invalid_count, "send_row",
              {b.index(capacity - 1), row, Value(), b.index(-1), token, slot});
    b.ifThen(b.cmp(Pred::sge, row, b.index(0)), [&] {
      RowPlace place = {token, slot, slot, slot, row};
      if (op.isExpertMajor()) {
        Value expert = b.loadIndex(op.getRoutingTopkIdx(), {token, slot});
        if (!isChecked)
          b.check(b.cmp(Pred::ult, expert, b.index(placement.numExperts)),
                  symm::Failure::invalid_expert, "expert id",
                  {b.index(placement.numExperts - 1), expert, Value(),
                   b.index(0), token, slot});
        place.key = expert;
        place.peer = b.owner(expert, placement);
      }
      move(place);
    });
  });
}
