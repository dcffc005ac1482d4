//===- CombinePush.cpp - rows that are put into slots of their tokens -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Half of the subgroups of a block put the rows that this rank holds, and then
/// help the others, which add up tokens as their rows come. Each row has a slot
/// at its token's rank, and a flag that is signalled when it is there: nobody
/// waits for more than the rows of one token.
///
/// Few rows are put in one round: each subgroup puts a share, if there is one
/// for it, and then adds up its share of a token. No subgroup waits for a row
/// before it has put all of its own, so ranks never wait for each other in a
/// circle.
///
//===----------------------------------------------------------------------===//

#include "CombineKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// Bytes that are put in one round, at most, where every subgroup has a share:
/// with more, the links are busy for longer than a round takes, and rows are
/// better added up meanwhile.
static constexpr int64_t kOneRoundBytes = 4 << 20;
/// Vectors that a lane copies at a time.
static constexpr int64_t kCopiedVectors = 8;

int64_t CombineKernel::numShares(const PutShape &shape) {
  int64_t items = op.getTokenBound();
  if (partials)
    items = llvm::divideCeil(items, partials->groupSize(shape));
  return items * shape.numOwners(b) * shape.team;
}

/// A share takes 3 to 4 us from what is asked for to the signal that it has
/// arrived, however short it is. So few rows are put in as many shares as all
/// subgroups can put at the same time.
///
/// With more rows half of the subgroups put, and the others add up rows while
/// those come. More putters than the links need are slower: each waits until
/// its row has arrived before it signals that.
PutShape CombineKernel::choosePutShape() {
  int64_t all = b.numSubgroups(), team = b.launchShape().team;
  int64_t rowBytes = rowLength * elementBytes();
  int64_t rows = static_cast<int64_t>(op.getTokenBound()) *
                 std::min<int64_t>(b.numRanks() - 1, op.getNumSlots());
  bool areFew = rows <= kOneRoundBytes / rowBytes;
  for (int64_t size = team; areFew && size > 0; size /= 2) {
    PutShape shape{all, size, /*isOneRound=*/true};
    if (numShares(shape) <= all * b.maxBlocks())
      return shape;
  }
  return {std::max<int64_t>(all / 2, 1), team, /*isOneRound=*/false};
}

/// Outside the kernel.
void CombineKernel::makeSlots() {
  int64_t slots = static_cast<int64_t>(op.getTokenBound()) * b.numRanks();
  if (partials)
    partials->allocate();
  else
    y = b.withContiguousRows(op.getY());
  source = b.symmetric({slots, rowLength}, terms.from);
  if (terms.haveWeights)
    sourceWeights = b.symmetric({slots}, b.getF32Type());
  arrived = b.persistent({slots * puts.team}, b.getI64Type());
  if (!isOneRound)
    putTickets = b.ticketCounters();
}

Value CombineKernel::slotOf(Value token, Value holder) {
  return CombinePartials::slotOf(b, token, holder);
}

/// The rows of one sender are consecutive. Rows past the capacity were dropped.
void CombineKernel::findRowsOfSenders() {
  starts = b.workgroup({b.numRanks()}, b.getI32Type());
  counts = b.workgroup({b.numRanks()}, b.getI32Type());
  mostRows = b.workgroup({1}, b.getI32Type());
  Value zero = b.index(0), limit = b.index(capacity);
  Value bound = b.index(op.getTokenBound());
  b.onThread(zero, [&] {
    Value most = b.reduce(
        zero, b.index(b.numRanks()), {zero, zero},
        [&](Value sender, ValueRange carried) -> SmallVector<Value> {
          Value number = b.loadIndex(op.getNTokensFromRank(), {sender});
          Value isFine = b.both(b.cmp(Pred::sge, number, zero),
                                b.cmp(Pred::sle, number, bound));
          b.check(isFine, symm::Failure::invalid_count, "n_tokens_from_rank",
                  {bound, number, sender, zero});
          b.noteError(isFine);
          number = b.select(isFine, number, zero);
          Value first = op.getLayout() == Layout::slab ? b.mul(sender, bound)
                                                       : carried[0];
          Value room = arith::MaxSIOp::create(b, b.sub(limit, first), zero);
          Value kept = arith::MinSIOp::create(b, number, room);
          b.storeIndex(first, starts, {sender});
          b.storeIndex(kept, counts, {sender});
          return {b.add(first, number),
                  arith::MaxSIOp::create(b, carried[1], kept)};
        })[1];
    b.storeIndex(most, mostRows, {zero});
  });
}

/// Rows go back to the ranks that sent them.
void CombineKernel::putRows(Value haveBegun) {
  Value most = b.loadIndex(mostRows, {b.index(0)});
  auto putShare = [&](const PutShape::Share &share) {
    Value count = b.loadIndex(counts, {share.owner});
    b.ifThen(b.cmp(Pred::ult, share.number, count), [&] {
      Value row = b.add(b.loadIndex(starts, {share.owner}), share.number);
      putRow(row, share.owner, share.member);
    });
  };
  puts.forShares(b, putTickets, epoch, most, haveBegun, putShare);
}

std::pair<Value, Value> CombineKernel::checkSource(Value row, Value sender) {
  Value bound = b.index(op.getTokenBound());
  Value origin = b.loadIndex(op.getRecvSrcIdx(), {row});
  Value token = b.sub(origin, b.mul(sender, bound));
  Value isFine = b.cmp(Pred::ult, token, bound);
  b.check(isFine, symm::Failure::invalid_count, "recv_src_idx",
          {b.sub(b.mul(b.add(sender, b.index(1)), bound), b.index(1)), origin,
           sender, b.mul(sender, bound)});
  b.noteError(isFine);
  return {token, isFine};
}

/// Nobody needs those of the rows that stay here, but a wrong one is an error
/// all the same (combine_s5).
void CombineKernel::checkOwnSources() {
  int64_t threads = b.launchShape().threads;
  Value thread = b.add(b.mul(b.block(), b.index(threads)), b.thread());
  Value first = b.loadIndex(starts, {b.me()});
  b.step(thread, b.loadIndex(counts, {b.me()}),
         b.mul(b.numBlocks(), b.index(threads)),
         [&](Value number) { checkSource(b.add(first, number), b.me()); });
}

void CombineKernel::putRow(Value row, Value sender, Value member) {
  auto [token, isFine] = checkSource(row, sender);
  b.ifThen(isFine, [&, token = token] {
    int64_t team = puts.team;
    Value slot = slotOf(token, b.me());
    symm::PutEachOp::create(b, y, row, source, slot, sender,
                            /*rotation=*/b.index(0), /*lanes=*/1,
                            team > 1 ? member : Value(), team);
    if (sourceWeights)
      b.onFirstLane([&] {
        b.store(b.load(op.getWeights(), {row}),
                symm::PeerOp::create(b, sourceWeights, sender), {slot});
      });
    // The signal is of one lane, for what all have stored.
    b.syncSubgroup();
    Value flag = b.add(b.mul(slot, b.index(team)), member);
    b.onFirstLane(
        [&] { symm::SignalOp::create(b, arrived, flag, sender, epoch); });
  });
}

/// Rows of a rank follow one another in the list.
void CombineKernel::listOthers(RowList &list) {
  Value zero = b.index(0), one = b.index(1), none = b.index(-1);
  Value isRow = b.cmp(Pred::sge, list.row, zero);
  Value isOwn = b.both(isRow, b.cmp(Pred::eq, list.peer, b.me()));
  Value ownMask = b.ballot(isOwn), first = b.lowestBit(ownMask);
  ownRows.count = b.countBits(ownMask);
  auto rowBehind = [&](Value values, Value from) {
    return b.shuffle(
        values, arith::MinUIOp::create(b, from, b.index(kSubgroupSize - 1)));
  };
  Value hasRow = b.cmp(Pred::ult, b.lane(), ownRows.count);
  ownRows.row =
      b.select(hasRow, rowBehind(list.row, b.add(first, b.lane())), none);
  ownRows.peer = b.me();
  if (op.getWeights())
    ownRows.weight =
        loadWeight(ownRows.row, [&]() -> Value { return op.getWeights(); });
  ownRows.row = b.select(hasRow, ownRows.row, zero);

  RowList others{zero, none, zero, {}};
  others.isOnly = b.cmp(Pred::eq, list.count, one);
  others.isNone = b.cmp(Pred::eq, list.count, zero);
  if (partials) {
    Value isFirst = b.both(isRow, b.cmp(Pred::eq, b.lane(), zero));
    Value begins = arith::OrIOp::create(b, findBegins(list.peer, isRow),
                                        b.ballot(isFirst));
    Value notOwn = arith::XOrIOp::create(b, ownMask, b.i32(-1));
    Value mask = arith::AndIOp::create(b, begins, notOwn);
    moveInOrder(others, list.row, list.peer, mask, op.getNumSlots());
    others.count = b.countBits(mask);
    Value bit =
        arith::ShLIOp::create(b, b.i32(1), b.fromIndex(first, b.getI32Type()));
    ownPlace =
        b.countBits(arith::AndIOp::create(b, mask, b.sub(bit, b.i32(1))));
  } else {
    // There is one at most, and the rows behind it move up.
    Value isBehind = b.cmp(Pred::uge, b.lane(), first);
    Value from = b.add(b.lane(), b.select(isBehind, ownRows.count, zero));
    others.count = b.sub(list.count, ownRows.count);
    Value isOther = b.cmp(Pred::ult, b.lane(), others.count);
    others.row = b.select(isOther, rowBehind(list.row, from), none);
    others.peer = b.select(isOther, rowBehind(list.peer, from), zero);
    ownPlace = first;
  }
  Value isThere = b.cmp(Pred::ne, ownRows.count, zero);
  ownPlace = b.select(isThere, ownPlace, none);
  list = others;
}

/// Rows of a rank follow one another.
void CombineKernel::listRanks(RowList &list) {
  Value isRow = b.cmp(Pred::sge, list.row, b.index(0));
  Value isFirst = b.both(isRow, b.cmp(Pred::eq, b.lane(), b.index(0)));
  Value begins =
      arith::OrIOp::create(b, findBegins(list.peer, isRow), b.ballot(isFirst));
  RowList ranks{b.index(0), b.index(-1), b.index(0), {}};
  moveInOrder(ranks, list.row, list.peer, begins, op.getNumSlots());
  ranks.count = b.countBits(begins);
  ranks.isOnly = b.cmp(Pred::eq, list.count, b.index(1));
  list = ranks;
}

/// Where the rows of `token` are once they have come. In one round, sums of
/// ranks are waited for when what this rank adds to them is there.
void CombineKernel::waitForListed(Value token, RowList &list) {
  if (isOneRound)
    listOthers(list);
  else if (partials)
    listRanks(list);
  holders = list.peer;
  if (!isOneRound || !partials)
    waitForFlags(token, list);
  Value isRow = b.cmp(Pred::sge, list.row, b.index(0));
  list.row = b.select(isRow, slotOf(token, list.peer), b.index(-1));
  list.peer = b.me();
}

void CombineKernel::waitForTerms(Value token, const RowList &list) {
  if (isOneRound && partials)
    waitForFlags(token, list);
}

/// Lanes wait for the flags of all rows and shares side by side: each wait
/// takes a way to memory. After an error in this block the sums are of whatever
/// is there.
void CombineKernel::waitForFlags(Value token, const RowList &list) {
  Value team = b.index(puts.team);
  Value numFlags =
      b.select(b.hasNoError(), b.mul(list.count, team), b.index(0));
  b.step(b.index(0), numFlags, b.index(kSubgroupSize), [&](Value base) {
    Value number = b.add(base, b.lane());
    Value place = arith::MinUIOp::create(
        b, arith::DivUIOp::create(b, number, team), b.index(kSubgroupSize - 1));
    Value holder = b.shuffle(holders, place);
    Value flag = b.add(b.mul(slotOf(token, holder), team),
                       arith::RemUIOp::create(b, number, team));
    b.ifThen(b.cmp(Pred::ult, number, numFlags), [&] {
      Value seen =
          symm::WaitOp::create(b, b.getI64Type(), arrived, flag, holder, epoch)
              .getSeen();
      b.noteError(b.cmp(Pred::uge, seen, epoch));
    });
  });
  b.syncSubgroup();
}

//===----------------------------------------------------------------------===//
// Rows of this rank
//===----------------------------------------------------------------------===//

/// Those of an expert_major combine are added up first, as other ranks do with
/// theirs.
SmallVector<Value> CombineKernel::ownTerms(ValueRange columns) {
  if (!isOneRound)
    return {};
  SmallVector<Value> sums;
  if (partials) {
    for (Value sum : partials->sumRows(ownRows, columns))
      sums.push_back(termOf(sum, /*weight=*/Value()));
    return sums;
  }
  Row row = ownRow();
  SmallVector<Value> loaded = loadRows(row, columns).front();
  for (Value vector : loaded)
    sums.push_back(termOf(vector, row.weight));
  return sums;
}

/// Of a token that has one, or row 0: what is loaded hangs on no condition.
CombineKernel::Row CombineKernel::ownRow() {
  Row row;
  row.row = b.shuffle(ownRows.row, b.index(0));
  row.data = y;
  if (ownRows.weight)
    row.weight = b.shuffle(ownRows.weight, b.index(0));
  return row;
}

/// A row is kept in f32, which takes twice the registers.
int64_t CombineKernel::numOwnVectors() {
  if (!isOneRound)
    return 0;
  return partials ? partials->numSumVectors() : 2;
}

void CombineKernel::copyOwnRow(Value token, Value member) {
  Row row = ownRow();
  int64_t vectors = numVectors();
  int64_t rounds = llvm::divideCeil(vectors, kCopiedVectors);
  forAllColumns(
      llvm::divideCeil(vectors, rounds), member, [&](ValueRange columns) {
        SmallVector<Value> bits = partials ? partials->loadRow(row.row, columns)
                                           : loadRows(row, columns).front();
        for (auto [column, vector] : llvm::zip(columns, bits))
          storeColumns(token, column, vector);
      });
}

/// A token whose only row lies here gets its bits (combine_s4).
void CombineKernel::reduceToken(Value token, Value member,
                                const RowList &list) {
  if (!isOneRound || !keepsBits())
    return CombineSum::reduceToken(token, member, list);
  Value isHere = b.cmp(Pred::ne, ownRows.count, b.index(0));
  auto only = scf::IfOp::create(b, b.both(list.isOnly, isHere),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(only.thenBlock());
  copyOwnRow(token, member);
  b.setInsertionPointToStart(only.elseBlock());
  CombineSum::reduceToken(token, member, list);
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

/// With the rows of the first token listed, and tokens shared out in a fixed
/// way: all subgroups get to them at about the same time.
void CombineKernel::reduceOwnShares(KernelBuilder::FirstItem first,
                                    ValueRange ahead) {
  Value team = b.index(b.launchShape().team);
  auto shares = scf::ForOp::create(b, first.item, b.mul(numTokens, team),
                                   first.begun, ahead);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(shares.getBody());
  Value share = shares.getInductionVar();
  reduceListed(tokenOf(share), arith::RemUIOp::create(b, share, team),
               shares.getRegionIterArgs());
  Value next = b.add(share, first.begun);
  scf::YieldOp::create(b, listNext(tokenOf(next), numTokens));
}

/// Slots may be put into when their rank has begun.
void CombineKernel::putAndReduce() {
  if (!partials)
    findRowsOfSenders();
  KernelBuilder::FirstItem first;
  SmallVector<Value> ahead;
  if (isOneRound) {
    first = b.ownItems(b.numSubgroups());
    ahead = listAhead(tokenOf(first.item), numTokens);
  }
  b.phase("ready");
  Value haveBegun = b.syncBlockAll(b.waitForPeers(ready, epoch));
  b.noteError(haveBegun);
  if (partials)
    partials->countTokens();
  b.phase("put");
  if (partials) {
    partials->put({source, arrived}, putTickets, haveBegun);
  } else {
    putRows(haveBegun);
    if (isOneRound)
      checkOwnSources();
  }
  b.phase("reduce");
  if (isOneRound)
    return reduceOwnShares(first, ahead);
  first = b.takenItems(tickets, epoch);
  reduceSharedOut(first, listNext(tokenOf(first.item), numTokens));
}
