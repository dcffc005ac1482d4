//===- CombinePartials.cpp - sums of ranks that are put -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CombinePartials.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

/// Bits of a word that its value has.
static constexpr int64_t kValueBits = 32;
/// Among more ranks most of them have no row of a token: then subgroups look at
/// several tokens of a rank at a time, so many for each further group of ranks.
static constexpr int64_t kRanksPerGroup = 8;

CombinePartials::CombinePartials(CombineOp op, KernelBuilder &b)
    : CombineSum(op, b) {
  terms.to = partialElement();
  terms.most = rowsPerRank();
  terms.areFewer = true;
  terms.areByRank = false;
}

void CombinePartials::setShape(const PutShape &shape) {
  puts = shape;
  isOneRound = shape.isOneRound;
  sharers = shape.team;
}

void CombinePartials::allocate() {
  y = b.withContiguousRows(op.getY());
  int64_t tokens = static_cast<int64_t>(op.getTokenBound()) * b.numRanks();
  words = b.persistent({tokens * rowsPerRank()}, b.getI64Type());
  if (isDynamic())
    tokenWords = b.persistent({b.numRanks()}, b.getI64Type());
}

Value CombinePartials::wordOf(Value owner, Value token, Value place) {
  Value row = b.add(b.mul(owner, b.index(op.getTokenBound())), token);
  return b.add(b.mul(row, b.index(rowsPerRank())), place);
}

//===----------------------------------------------------------------------===//
// The rank of a token
//===----------------------------------------------------------------------===//

/// No rank reads the words of the last run any more: it has signalled its end
/// since. So nobody has to wait before asking.
void CombinePartials::ask(Value tokens, Value runEpoch) {
  epoch = runEpoch;
  runBase = arith::ShLIOp::create(b, epoch, b.i64(kValueBits));
  if (tokenWords)
    b.onFirstBlock([&] {
      b.forPeersAside([&](Value peer) {
        symm::SignalOp::create(b, tokenWords, b.me(), peer,
                               b.add(runBase, b.toI64(tokens)),
                               /*relaxed=*/true);
      });
    });
  KernelBuilder::FirstItem first = b.ownItems(b.numSubgroups());
  b.step(first.item, tokens, first.begun,
         [&](Value token) { askFor(token, listRows(token, tokens)); });
}

/// A lane for each word of each rank. The rows of a rank are consecutive in the
/// list: behind those of smaller ranks.
void CombinePartials::askFor(Value token, const RowList &list) {
  int64_t perRank = rowsPerRank(), all = b.numRanks() * perRank;
  Value zero = b.index(0), one = b.index(1), none = b.index(-1);
  Value isOnly = b.cmp(Pred::eq, list.count, one);
  b.step(zero, b.index(all), b.index(kSubgroupSize), [&](Value base) {
    Value number = b.add(base, b.lane());
    Value holder = arith::DivUIOp::create(b, number, b.index(perRank));
    Value place = arith::RemUIOp::create(b, number, b.index(perRank));
    Value before = zero, held = zero;
    for (int64_t i = 0; i < op.getNumSlots(); ++i) {
      Value peer = b.shuffle(list.peer, b.index(i));
      Value isRow = b.cmp(Pred::ult, b.index(i), list.count);
      Value isBefore = b.both(isRow, b.cmp(Pred::ult, peer, holder));
      Value isHeld = b.both(isRow, b.cmp(Pred::eq, peer, holder));
      before = b.select(isBefore, b.add(before, one), before);
      held = b.select(isHeld, b.add(held, one), held);
    }
    Value from = arith::MinUIOp::create(b, b.add(before, place),
                                        b.index(kSubgroupSize - 1));
    Value row = b.shuffle(list.row, from);
    if (widensRows())
      row = b.select(isOnly, b.sub(b.index(kOnlyRow), row), row);
    row = b.select(b.cmp(Pred::ult, place, held), row, none);
    Value value = arith::ExtUIOp::create(b, b.getI64Type(),
                                         b.fromIndex(row, b.getI32Type()));
    Value isAsked = b.cmp(Pred::ult, number, b.index(all));
    if (isOneRound)
      isAsked = b.both(isAsked, b.cmp(Pred::ne, holder, b.me()));
    b.ifThen(isAsked, [&] {
      symm::SignalOp::create(b, words, wordOf(b.me(), token, place), holder,
                             b.add(runBase, value), /*relaxed=*/true);
    });
  });
}

//===----------------------------------------------------------------------===//
// The rank that holds rows
//===----------------------------------------------------------------------===//

void CombinePartials::countTokens() {
  Value bound = b.index(op.getTokenBound());
  mostTokens = bound;
  if (!tokenWords)
    return;
  Value zero = b.index(0);
  counts = b.workgroup({b.numRanks() + 1}, b.getI32Type());
  b.forThreads(b.index(b.numRanks()), [&](Value owner) {
    Value seen = symm::WaitOp::create(b, b.getI64Type(), tokenWords, owner,
                                      owner, runBase)
                     .getSeen();
    Value isThere = b.cmp(Pred::sge, seen, runBase);
    b.noteError(isThere);
    Value number = b.toIndex(b.sub(seen, runBase));
    Value isFine = b.both(isThere, b.cmp(Pred::ule, number, bound));
    b.storeIndex(b.select(isFine, number, zero), counts, {owner});
  });
  b.syncBlock();
  Value ranks = b.index(b.numRanks());
  b.onThread(zero, [&] {
    Value most =
        b.reduce(zero, ranks, zero,
                 [&](Value owner, ValueRange most) -> SmallVector<Value> {
                   return {arith::MaxSIOp::create(
                       b, most[0], b.loadIndex(counts, {owner}))};
                 })[0];
    b.storeIndex(most, counts, {ranks});
  });
  b.syncBlock();
  mostTokens = b.loadIndex(counts, {ranks});
}

Value CombinePartials::tokensOf(Value owner) {
  return tokenWords ? b.loadIndex(counts, {owner}) : mostTokens;
}

/// No more than leave every subgroup a group.
int64_t CombinePartials::groupSize(const PutShape &shape) {
  int64_t tokens =
      static_cast<int64_t>(op.getTokenBound()) * shape.numOwners(b);
  int64_t most = std::min(tokens / (shape.putters * b.maxBlocks()),
                          b.numRanks() / kRanksPerGroup);
  return std::clamp<int64_t>(most, 1, kSubgroupSize);
}

void CombinePartials::put(const Slots &slots, Value putTickets,
                          Value haveBegun) {
  int64_t size = groupSize(puts);
  Value groups = arith::CeilDivUIOp::create(b, mostTokens, b.index(size));
  auto putShare = [&](const PutShape::Share &share) {
    Value first = b.mul(share.number, b.index(size));
    b.ifThen(b.cmp(Pred::ult, first, tokensOf(share.owner)), [&] {
      if (size == 1)
        putToken(slots, share.owner, first, share.member);
      else
        putGroup(slots, share.owner, first, size, share.member);
    });
  };
  puts.forShares(b, putTickets, epoch, groups, haveBegun, putShare);
}

/// A vote shows which tokens have a row here.
void CombinePartials::putGroup(const Slots &slots, Value owner, Value first,
                               int64_t size, Value member) {
  Value token = b.add(first, b.lane());
  Value isToken = b.both(b.cmp(Pred::ult, b.lane(), b.index(size)),
                         b.cmp(Pred::ult, token, tokensOf(owner)));
  Value row = readWord(owner, token, b.index(0), isToken);
  Value mask = b.ballot(b.cmp(Pred::ne, row, b.index(-1)));
  b.forBits(mask, [&](Value lane) {
    // What follows from the rank would be computed before the loop and kept for
    // all tokens, in registers that their sums need.
    putToken(slots, b.shuffle(owner, lane), b.add(first, lane), member);
  });
}

/// After a timed-out wait there is no row.
Value CombinePartials::readWord(Value owner, Value token, Value place,
                                Value isThere) {
  Value none = b.index(-1);
  auto read = scf::IfOp::create(b, TypeRange{b.getIndexType()}, isThere,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(read.elseBlock());
  scf::YieldOp::create(b, none);
  b.setInsertionPointToStart(read.thenBlock());
  Value seen = symm::WaitOp::create(b, b.getI64Type(), words,
                                    wordOf(owner, token, place), owner, runBase)
                   .getSeen();
  Value isFine = b.cmp(Pred::sge, seen, runBase);
  b.noteError(isFine);
  Value value = arith::TruncIOp::create(b, b.getI32Type(), seen);
  scf::YieldOp::create(b, b.select(isFine, b.toIndex(value), none));
  return read.getResult(0);
}

/// Its rows are added up in the order of the words, in which the token's rank
/// has checked them.
void CombinePartials::putToken(const Slots &slots, Value owner, Value token,
                               Value member) {
  Value none = b.index(-1);
  RowList list;
  Value row = readWord(owner, token, b.lane(),
                       b.cmp(Pred::ult, b.lane(), b.index(rowsPerRank())));
  if (widensRows()) {
    Value isOnly = b.cmp(Pred::slt, row, none);
    list.isOnly = b.cmp(Pred::ne, b.ballot(isOnly), b.i32(0));
    row = b.select(isOnly, b.sub(b.index(kOnlyRow), row), row);
  }
  Value isRow = b.cmp(Pred::ult, row, b.index(capacity));
  list.count = b.countBits(b.ballot(isRow));
  list.peer = b.me();
  list.weight = loadWeight(b.select(isRow, row, none), b.me());
  list.row = b.select(isRow, row, b.index(0));
  b.ifThen(b.cmp(Pred::ne, list.count, b.index(0)), [&] {
    Value slot = slotOf(b, token, b.me());
    out = symm::PeerOp::create(b, slots.rows, owner);
    reduceToken(slot, member, list);
    // The signal is of one lane, for what all have stored.
    b.syncSubgroup();
    Value flag = b.add(b.mul(slot, b.index(sharers)), member);
    b.onFirstLane(
        [&] { symm::SignalOp::create(b, slots.arrived, flag, owner, epoch); });
  });
}

//===----------------------------------------------------------------------===//
// Rows of this rank's own tokens
//===----------------------------------------------------------------------===//

/// Fewer than are put at a time: sums of other ranks take registers as well.
int64_t CombinePartials::ownBatchSize() {
  return std::min<int64_t>(rowsPerRank(), 4);
}

int64_t CombinePartials::numSumVectors() {
  return llvm::divideCeil(ownBatchSize() * vectorLength() * elementBytes(), 16);
}

SmallVector<Value> CombinePartials::sumRows(const RowList &list,
                                            ValueRange columns) {
  int64_t size = ownBatchSize();
  auto batches = scf::ForOp::create(b, b.index(0), list.count, b.index(size),
                                    emptySums(columns.size()));
  b.keepInTurn(batches);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(batches.getBody());
    scf::YieldOp::create(b, addBatch(list, batches.getInductionVar(), size,
                                     columns, batches.getRegionIterArgs()));
  }
  SmallVector<Value> sums;
  for (size_t i = 0; i < columns.size(); ++i)
    sums.push_back(toColumns(sumAndBits(batches.getResults(), i).first));
  return sums;
}
