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
//===----------------------------------------------------------------------===//

#include "CombineKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// The others add up rows while those come. More putters than the links need
/// are slower: each waits until its row has arrived before it signals that.
int64_t CombineKernel::numPutters() {
  return std::max<int64_t>(b.numSubgroups() / 2, 1);
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
  arrived = b.persistent({slots * b.launchShape().team}, b.getI64Type());
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

/// The senders take turns, so that no two ranks turn to the same one for long.
/// None does where not all have begun.
void CombineKernel::putRows(Value haveBegun) {
  Value ranks = b.index(b.numRanks()), team = b.index(b.launchShape().team);
  Value turns = b.mul(b.loadIndex(mostRows, {b.index(0)}), ranks);
  turns = b.select(haveBegun, turns, b.index(0));
  auto putters = scf::IfOp::create(
      b, b.cmp(Pred::ult, b.subgroup(), b.index(numPutters())),
      /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(putters.thenBlock());
  b.forTickets(
      putTickets, epoch, b.mul(turns, team), b.ownItems(numPutters()),
      ValueRange(), [&](Value share, ValueRange, llvm::function_ref<Value()>) {
        Value turn = arith::DivUIOp::create(b, share, team);
        Value member = arith::RemUIOp::create(b, share, team);
        Value sender = b.rotated(
            b.add(arith::RemUIOp::create(b, turn, ranks), b.index(1)));
        Value number = arith::DivUIOp::create(b, turn, ranks);
        Value isRow = b.cmp(Pred::ult, number, b.loadIndex(counts, {sender}));
        b.ifThen(isRow, [&] {
          Value row = b.add(b.loadIndex(starts, {sender}), number);
          putRow(row, sender, member);
        });
        return SmallVector<Value>();
      });
}

void CombineKernel::putRow(Value row, Value sender, Value member) {
  Value bound = b.index(op.getTokenBound());
  Value origin = b.loadIndex(op.getRecvSrcIdx(), {row});
  Value token = b.sub(origin, b.mul(sender, bound));
  Value isFine = b.cmp(Pred::ult, token, bound);
  b.check(isFine, symm::Failure::invalid_count, "recv_src_idx",
          {b.sub(b.mul(b.add(sender, b.index(1)), bound), b.index(1)), origin,
           sender, b.mul(sender, bound)});
  b.noteError(isFine);
  b.ifThen(isFine, [&] {
    int64_t team = b.launchShape().team;
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

/// Where the rows of `token` are once they have come. Lanes wait for the flags
/// of all rows and shares side by side: each wait takes a way to memory. After
/// an error in this block the sums are of whatever is there.
void CombineKernel::waitForListed(Value token, RowList &list) {
  if (partials)
    listRanks(list);
  Value team = b.index(b.launchShape().team);
  Value numFlags =
      b.select(b.hasNoError(), b.mul(list.count, team), b.index(0));
  b.step(b.index(0), numFlags, b.index(kSubgroupSize), [&](Value base) {
    Value number = b.add(base, b.lane());
    Value place = arith::MinUIOp::create(
        b, arith::DivUIOp::create(b, number, team), b.index(kSubgroupSize - 1));
    Value holder = b.shuffle(list.peer, place);
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
  Value isRow = b.cmp(Pred::sge, list.row, b.index(0));
  list.row = b.select(isRow, slotOf(token, list.peer), b.index(-1));
  list.peer = b.me();
}

/// Slots may be put into when their rank has begun.
void CombineKernel::putAndReduce() {
  if (!partials)
    findRowsOfSenders();
  b.phase("ready");
  Value haveBegun = b.syncBlockAll(b.waitForPeers(ready, epoch));
  b.noteError(haveBegun);
  if (partials)
    partials->countTokens();
  b.phase("put");
  if (partials)
    partials->put({source, arrived}, putTickets, numPutters(), haveBegun);
  else
    putRows(haveBegun);
  b.phase("reduce");
  KernelBuilder::FirstItem first = b.takenItems(tickets, epoch);
  reduceSharedOut(first, listNext(tokenOf(first.item), numTokens));
}
