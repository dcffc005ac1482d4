//===- DispatchExpansion.cpp - rows that cross to a rank once -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchExpansion.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

DispatchExpansion::DispatchExpansion(DispatchOp op, KernelBuilder &b)
    : op(op), b(b), capacity(op.getNumRows(b.numRanks())), topK(op.getTopK()) {}

void DispatchExpansion::allocate() {
  int64_t shares = b.numRanks() * tokenBound() * team();
  words = b.persistent({shares}, b.getI64Type());
  lists = b.symmetric({shares, topK}, b.getI32Type());
  tickets = b.ticketCounters();
  if (!hasStaticTokens())
    sizes = b.flags();
}

/// How a row is divided depends on the alignment of both its ends. The rows
/// that are received are aligned.
Value DispatchExpansion::withSameShares(Value rows) {
  Value aligned = b.withAlignedRows(rows);
  b.copyBack(rows, aligned);
  return aligned;
}

Value DispatchExpansion::shareOf(Value source, Value token, Value member) {
  Value number = b.add(b.mul(source, b.index(tokenBound())), token);
  return b.add(b.mul(number, b.index(team())), member);
}

//===----------------------------------------------------------------------===//
// Numbers of tokens
//===----------------------------------------------------------------------===//

/// A flag that is the number, like the counts of slabs. No rank sends the next
/// one before all blocks of the others have ended this run.
void DispatchExpansion::sendTokens(Value numTokens, Value epoch) {
  if (hasStaticTokens())
    return;
  Value value = b.add(shifted(epoch, bitsOf(tokenBound())),
                      b.fromIndex(numTokens, b.getI64Type()));
  b.onFirstBlock([&] {
    b.forPeersAside([&](Value peer) {
      symm::SignalOp::create(b, sizes, b.me(), peer, value, /*relaxed=*/true);
    });
  });
}

void DispatchExpansion::receiveTokens(Value epoch) {
  if (hasStaticTokens())
    return;
  tokens = b.workgroup({b.numRanks()}, b.getI32Type());
  Value least = shifted(epoch, bitsOf(tokenBound()));
  b.forPeersAside([&](Value peer) {
    Value seen =
        symm::WaitOp::create(b, b.getI64Type(), sizes, peer, peer, least)
            .getSeen();
    Value number = b.sub(seen, least);
    Value isKnown = b.both(b.cmp(Pred::uge, seen, least),
                           b.cmp(Pred::ule, number, b.i64(tokenBound())));
    number = b.select(isKnown, number, b.i64(-1));
    b.storeIndex(b.toIndex(number), tokens, {peer});
  });
}

Value DispatchExpansion::mostTokens() {
  if (hasStaticTokens())
    return b.index(op.getX().getType().getDimSize(0));
  Value zero = b.index(0), yes = b.integer(b.getI1Type(), 1);
  SmallVector<Value> found =
      b.reduce(zero, b.index(b.numRanks()), {zero, yes},
               [&](Value rank, ValueRange carried) -> SmallVector<Value> {
                 Value number = b.loadIndex(tokens, {rank});
                 Value isKnown = b.cmp(Pred::sge, number, zero);
                 return {arith::MaxSIOp::create(b, carried[0], number),
                         b.both(carried[1], isKnown)};
               });
  b.noteError(found[1]);
  return found[0];
}

//===----------------------------------------------------------------------===//
// Putting
//===----------------------------------------------------------------------===//

DispatchExpansion::Places DispatchExpansion::findPlaces(Value row, Value peer) {
  Value none = b.index(-1), zero = b.index(0), one = b.index(1);
  Value isElsewhere =
      b.both(b.cmp(Pred::sge, row, zero), b.cmp(Pred::ne, peer, b.me()));
  Places places;
  places.rank = b.select(isElsewhere, peer, none);
  SmallVector<Value> rows =
      b.reduce(zero, b.index(topK), {zero, zero},
               [&](Value lane, ValueRange carried) -> SmallVector<Value> {
                 Value isSame =
                     b.cmp(Pred::eq, b.shuffle(places.rank, lane), places.rank);
                 Value isLower = b.cmp(Pred::ult, lane, b.lane());
                 Value isBefore = b.both(isSame, isLower);
                 return {b.add(carried[0], b.select(isBefore, one, zero)),
                         b.add(carried[1], b.select(isSame, one, zero))};
               });
  places.before = rows[0];
  places.count = rows[1];
  Value isCopied = b.both(isElsewhere, b.cmp(Pred::ne, places.before, zero));
  places.toPut = b.select(isCopied, none, row);
  return places;
}

/// Every share has its own list, which its word publishes together with the
/// part of the row. Lanes signal all ranks at the same time: each signal waits
/// for what this subgroup has stored.
void DispatchExpansion::announce(Value token, Value member, Value row,
                                 const Places &places, Value epoch) {
  Value zero = b.index(0), one = b.index(1);
  Value share = shareOf(b.me(), token, member);
  Value isListed = b.both(b.cmp(Pred::sge, places.rank, zero),
                          b.cmp(Pred::ugt, places.count, one));
  b.ifThen(isListed, [&] {
    b.storeIndex(row, symm::PeerOp::create(b, lists, places.rank),
                 {share, places.before});
  });
  b.syncSubgroup();
  Value ranks = b.index(b.numRanks());
  b.step(zero, ranks, b.index(kSubgroupSize), [&](Value base) {
    Value peer = b.add(base, b.lane());
    Value rows =
        b.reduce(zero, b.index(topK), zero,
                 [&](Value lane, ValueRange sum) -> SmallVector<Value> {
                   Value isThere =
                       b.cmp(Pred::eq, b.shuffle(places.rank, lane), peer);
                   return {b.add(sum[0], b.select(isThere, one, zero))};
                 })[0];
    Value isOther =
        b.both(b.cmp(Pred::ult, peer, ranks), b.cmp(Pred::ne, peer, b.me()));
    b.ifThen(isOther, [&] {
      Value value = b.add(shifted(epoch, bitsOf(topK)),
                          b.fromIndex(rows, b.getI64Type()));
      symm::SignalOp::create(b, words, share, peer, value);
    });
  });
}

//===----------------------------------------------------------------------===//
// Copying
//===----------------------------------------------------------------------===//

/// Subgroups take shares in the order in which these come, as far as it is
/// known: who waits for a late one copies no other.
void DispatchExpansion::expand(Value areFine, Value epoch, Arrival arrival) {
  Value size = b.index(team()), most = mostTokens();
  Value numbers = most;
  if (arrival == Arrival::ByBlock)
    numbers = b.mul(arith::CeilDivUIOp::create(b, most, b.numBlocks()),
                    b.numBlocks());
  Value shares = b.mul(b.select(areFine, numbers, b.index(0)), size);
  KernelBuilder::FirstItem first = arrival == Arrival::AtOnce
                                       ? b.ownItems(b.numSubgroups())
                                       : b.takenItems(tickets, epoch);
  b.forTickets(tickets, epoch, shares, first, [&](Value share) {
    Value number = arith::DivUIOp::create(b, share, size);
    Value member = arith::RemUIOp::create(b, share, size);
    if (arrival != Arrival::ByBlock)
      return expandShare(number, member, epoch);
    // The first token of each block, then the second: as `blockRange` has them.
    Value block = arith::RemUIOp::create(b, number, b.numBlocks());
    auto bound = [&](Value block) -> Value {
      return arith::DivUIOp::create(b, b.mul(most, block), b.numBlocks());
    };
    Value token =
        b.add(bound(block), arith::DivUIOp::create(b, number, b.numBlocks()));
    Value isToken = b.cmp(Pred::ult, token, bound(b.add(block, b.index(1))));
    b.ifThen(isToken, [&] { expandShare(token, member, epoch); });
  });
}

Value DispatchExpansion::waitForShare(Value source, Value isSource, Value token,
                                      Value member, Value epoch) {
  auto wait = scf::IfOp::create(b, TypeRange{b.getIndexType()}, isSource,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(wait.thenBlock());
  Value least = shifted(epoch, bitsOf(topK));
  Value seen =
      symm::WaitOp::create(b, b.getI64Type(), words,
                           shareOf(source, token, member), source, least)
          .getSeen();
  Value isThere = b.cmp(Pred::uge, seen, least);
  b.noteError(isThere);
  Value rows = b.select(isThere, b.sub(seen, least), b.i64(0));
  scf::YieldOp::create(b, b.toIndex(rows));
  b.setInsertionPointToStart(wait.elseBlock());
  scf::YieldOp::create(b, b.index(0));
  return wait.getResult(0);
}

/// Lanes wait for the words of all ranks side by side: each wait takes a way to
/// memory. After an error in this block nothing is waited for, and nothing
/// copied.
void DispatchExpansion::expandShare(Value token, Value member, Value epoch) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  Value isFine = b.hasNoError();
  b.step(zero, ranks, b.index(kSubgroupSize), [&](Value base) {
    Value source = b.add(base, b.lane());
    Value isSource = b.both(isFine, b.both(b.cmp(Pred::ult, source, ranks),
                                           b.cmp(Pred::ne, source, b.me())));
    if (!hasStaticTokens()) {
      Value safe = b.select(isSource, source, zero);
      isSource = b.both(isSource,
                        b.cmp(Pred::slt, token, b.loadIndex(tokens, {safe})));
    }
    Value rows = waitForShare(source, isSource, token, member, epoch);
    b.syncSubgroup();
    Value mask = b.ballot(b.cmp(Pred::ugt, rows, b.index(1)));
    mask = b.select(b.hasNoError(), mask, b.i32(0));
    b.reduce(zero, b.countBits(mask), mask,
             [&](Value, ValueRange left) -> SmallVector<Value> {
               Value lane = b.lowestBit(left[0]);
               copyShare(b.add(base, lane), token, member,
                         b.shuffle(rows, lane));
               Value others = b.sub(left[0], b.i32(1));
               return {arith::AndIOp::create(b, left[0], others)};
             });
  });
}

void DispatchExpansion::copyShare(Value source, Value token, Value member,
                                  Value count) {
  Value none = b.index(-1), zero = b.index(0);
  Value listed = arith::MinUIOp::create(b, count, b.index(topK));
  auto look = scf::IfOp::create(b, TypeRange{b.getIndexType()},
                                b.cmp(Pred::ult, b.lane(), listed),
                                /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(look.thenBlock());
    Value row = b.loadIndex(lists, {shareOf(source, token, member), b.lane()});
    Value isRow = b.cmp(Pred::ult, row, b.index(capacity));
    b.check(isRow, symm::Failure::invalid_count, "row to expand",
            {b.index(capacity - 1), row, source, zero, token, b.lane()});
    b.noteError(isRow);
    scf::YieldOp::create(b, b.select(isRow, row, none));
    b.setInsertionPointToStart(look.elseBlock());
    scf::YieldOp::create(b, none);
  }
  Value row = look.getResult(0), from = b.shuffle(row, zero);
  Value isThere = b.cmp(Pred::sge, from, zero);
  Value isTarget = b.both(isThere, b.cmp(Pred::ne, b.lane(), zero));
  Value to = b.select(isTarget, row, none);
  from = b.select(isThere, from, zero);
  for (Output kind : {Output::RecvX, Output::RecvScales})
    if (Value rows = op.getOutput(kind))
      symm::PutEachOp::create(b, rows, from, rows, to, b.me(),
                              /*rotation=*/zero, /*lanes=*/topK,
                              team() > 1 ? member : Value(), team(),
                              /*rows=*/1, /*coherent=*/true);
}
