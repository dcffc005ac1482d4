//===- DispatchPlaceKernel.cpp - places of the rows of a dispatch ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchPlaceKernel.h"

using namespace mlir;
using namespace mlir::moe;

void DispatchPlaceKernel::allocate() {
  if (numExchanged() <= kMaxSharedKeys)
    return;
  startScratch = scratchTable(numExchanged());
  groupScratch = scratchTable(numExchanged());
  groupRowsScratch = scratchTable(numExchanged());
}

Value DispatchPlaceKernel::place() {
  b.phase("place");
  start = makeTable(numExchanged(), startScratch);
  needed = makeTable(b.numRanks(), Value());
  if (op.isExpertMajor())
    placeByExpert();
  else if (isSlab())
    placeInSlabs();
  else
    placeByRank();
  b.syncBlock();
  return checkNeeds();
}

void DispatchPlaceKernel::lower(KernelTables &tables, KernelBlocks &blocks,
                                const KernelBlocks::Box &inbox) {
  allocate();
  std::optional<KernelBlocks::Exchanged> kept;
  if (op.getKeepBlocks() && !messages.pairRows())
    kept.emplace(blocks.allocate(blocks.allocateBlocks(),
                                 blocks.allocateBlocks(), tables.kept()));
  b.launch(/*stageBytes=*/0, [&] {
    Value areFine = place();
    b.onFirstBlock([&] {
      if (messages.pairRows())
        checkPairs(areFine);
      else
        storeTables(tables);
      if (blocks.needsBox())
        storeInbox(blocks, inbox);
      if (kept)
        keepBlocks(blocks, inbox, *kept, tables);
    });
    finishSendRow(areFine);
  });
}

void DispatchPlaceKernel::fillEmptyRows() {
  padding.emplace(op, b);
  b.launch(/*stageBytes=*/0, [&] {
    Value areFine = place();
    b.phase("pad");
    pad(areFine);
  });
}

void DispatchPlaceKernel::placeInSlabs() {
  Value bound = b.index(op.getTokenBound());
  slabRows = b.workgroup({b.numRanks()}, b.getI32Type());
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    storeEntry(b.index(0), needed, peer);
    storeEntry(b.mul(b.me(), bound), start, peer);
    b.store(b.load(all, {peer, b.me()}), slabRows, {peer});
  });
  noteTokensFromRanks();
}

/// What lies past the capacity is left out, on both sides (dispatch_s9). With
/// expert_major the receiver leaves it out.
Value DispatchPlaceKernel::keptOf(Value start, Value rows) {
  if (op.getOverflow() != Overflow::drop || isSlab() || op.isExpertMajor())
    return rows;
  Value room = b.sub(b.index(capacity), start);
  room = arith::MaxSIOp::create(b, room, b.index(0));
  return arith::MinSIOp::create(b, rows, room);
}

Value DispatchPlaceKernel::sumOverExpertsOf(Value sender, Value rank) {
  auto [first, last] = expertsOf(rank);
  return b.reduce(first, last, b.index(0),
                  [&](Value expert, ValueRange sum) -> SmallVector<Value> {
                    return {b.add(sum[0], b.loadIndex(all, {sender, expert}))};
                  })[0];
}

Value DispatchPlaceKernel::rowsBetween(Value sender, Value receiver) {
  return op.isExpertMajor() ? sumOverExpertsOf(sender, receiver)
                            : b.loadIndex(all, {sender, receiver});
}

/// A lane per rank.
void DispatchPlaceKernel::storeTables(KernelTables &tables) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
    b.scanInLanes(
        zero, ranks, zero,
        [&](Value peer) { return rowsBetween(b.me(), peer); },
        [&](Value peer, Value before, Value rows) {
          tables.set(KernelTables::SendStart, peer, before);
          if (!op.isExpertMajor())
            rows = keptOf(loadEntry(start, peer), rows);
          tables.set(KernelTables::SendCount, peer, rows);
        });
    b.scanInLanes(
        zero, ranks, zero,
        [&](Value sender) { return rowsBetween(sender, b.me()); },
        [&](Value sender, Value before, Value rows) {
          Value first =
              isSlab() ? b.mul(sender, b.index(op.getTokenBound())) : before;
          tables.set(KernelTables::RecvStart, sender, first);
          tables.set(KernelTables::RecvCount, sender, keptOf(first, rows));
        });
  });
}

/// With padding: notes whether the counts `areFine` and the rows of all pairs
/// of ranks have room (coll_s8). All ranks see all counts, and so report the
/// same.
void DispatchPlaceKernel::checkPairs(Value areFine) {
  b.trackErrors();
  b.syncBlock();
  b.noteError(areFine);
  if (!messages.mayExceedPairRows())
    return b.syncBlock();
  Value ranks = b.index(b.numRanks()), room = b.index(*messages.pairRows());
  b.forThreads(b.index(b.numRanks() * b.numRanks()), [&](Value pair) {
    Value sender = arith::DivUIOp::create(b, pair, ranks);
    Value receiver = arith::RemUIOp::create(b, pair, ranks);
    Value rows = rowsBetween(sender, receiver);
    Value hasRoom = b.cmp(Pred::sle, rows, room);
    b.check(hasRoom, symm::Failure::capacity_exceeded, kPairRowsText, room,
            rows, b.select(b.cmp(Pred::eq, sender, b.me()), receiver, sender));
    b.noteError(hasRoom);
  });
  b.syncBlock();
}

/// The blocks that come, in the order of senders and experts. With padding the
/// kernel that unpacks them runs in any case: after an error there are none.
void DispatchPlaceKernel::storeInbox(KernelBlocks &blocks,
                                     const KernelBlocks::Box &inbox) {
  Value zero = b.index(0), parts = b.index(blocks.numParts());
  Value first, last;
  std::tie(first, last) = expertsOf(b.me());
  Value owned = b.sub(last, first);
  Value isFine = messages.pairRows() ? b.hasNoError() : Value();
  blocks.storeBox(inbox, [&](Value block) {
    Value rows;
    if (op.isExpertMajor()) {
      Value sender = arith::DivUIOp::create(b, block, parts);
      Value part = arith::RemUIOp::create(b, block, parts);
      Value isOwned = b.cmp(Pred::ult, part, owned);
      Value expert = b.select(isOwned, b.add(first, part), zero);
      rows = b.select(isOwned, b.loadIndex(all, {sender, expert}), zero);
    } else {
      rows = b.loadIndex(all, {block, b.me()});
    }
    return isFine ? b.select(isFine, rows, zero) : rows;
  });
  storePlaces(blocks, inbox);
}

/// With expert_major blocks go behind one another in the group of their expert.
void DispatchPlaceKernel::storePlaces(KernelBlocks &blocks,
                                      const KernelBlocks::Box &inbox) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  if (isSlab())
    return b.forThreads(ranks, [&](Value sender) {
      b.storeIndex(b.mul(sender, b.index(op.getTokenBound())), inbox.places,
                   {sender});
    });
  if (!op.isExpertMajor())
    return messages.layOut(
        ranks, [&](Value sender) { return b.loadIndex(all, {sender, b.me()}); },
        [&](Value sender, Value before, Value) {
          b.storeIndex(before, inbox.places, {sender});
        });
  Value parts = b.index(blocks.numParts());
  Value first, last;
  std::tie(first, last) = expertsOf(b.me());
  b.forThreads(b.sub(last, first), [&](Value part) {
    Value expert = b.add(first, part);
    b.reduce(zero, ranks, loadEntry(groups, expert),
             [&](Value sender, ValueRange row) -> SmallVector<Value> {
               b.storeIndex(row[0], inbox.places,
                            {b.add(b.mul(sender, parts), part)});
               return {b.add(row[0], b.loadIndex(all, {sender, expert}))};
             });
  });
}

/// Without the rows that have no room, which are not there to be brought back
/// or sent again. What the counts tell is true, so it is read before others
/// change it.
void DispatchPlaceKernel::keepBlocks(KernelBlocks &blocks,
                                     const KernelBlocks::Box &inbox,
                                     KernelBlocks::Exchanged &kept,
                                     KernelTables &tables) {
  Value parts = b.index(blocks.numParts()), zero = b.index(0);
  Value out = op.getOutput(Output::PeerBlocks);
  auto store = [&](int64_t side, Value block, Value first, Value rows) {
    if (op.getOverflow() == Overflow::drop && !isSlab()) {
      Value end = b.index(capacity);
      first = arith::MinUIOp::create(b, first, end);
      rows = arith::MinUIOp::create(b, rows, b.sub(end, first));
    }
    Value rank = arith::DivUIOp::create(b, block, parts);
    Value part = arith::RemUIOp::create(b, block, parts);
    Value table = side == 0 ? kept.mine : kept.theirs;
    for (auto [field, value] :
         {std::pair<int64_t, Value>{0, first}, {1, rows}}) {
      b.storeIndex(value, table, {rank, part, b.index(field)});
      b.storeIndex(value, out, {b.index(side), rank, part, b.index(field)});
    }
  };
  b.syncBlock();
  b.forThreads(b.index(blocks.numBlocks()), [&](Value block) {
    if (!op.isExpertMajor()) {
      store(0, block, loadEntry(start, block),
            b.loadIndex(all, {b.me(), block}));
      store(1, block, tables.get(KernelTables::RecvStart, block),
            b.loadIndex(all, {block, b.me()}));
      return;
    }
    Value rank = arith::DivUIOp::create(b, block, parts);
    Value part = arith::RemUIOp::create(b, block, parts);
    auto ofRank = [&](Value owner) -> std::pair<Value, Value> {
      auto [first, last] = expertsOf(owner);
      Value expert = b.add(first, part);
      Value isOwned = b.cmp(Pred::ult, expert, last);
      return {isOwned, b.select(isOwned, expert, zero)};
    };
    auto storeOwned = [&](int64_t side, Value isOwned, Value first,
                          Value rows) {
      store(side, block, b.select(isOwned, first, zero),
            b.select(isOwned, rows, zero));
    };
    auto [isTheirs, theirExpert] = ofRank(rank);
    storeOwned(0, isTheirs, loadEntry(start, theirExpert),
               b.loadIndex(all, {b.me(), theirExpert}));
    auto [isMine, myExpert] = ofRank(b.me());
    // Nothing is stored there of parts that this rank does not own.
    storeOwned(1, isMine,
               b.loadIndex(inbox.places, {b.select(isMine, block, zero)}),
               b.loadIndex(all, {rank, myExpert}));
  });
  b.syncBlock();
  blocks.layOut(kept, KernelTables::SendStart);
}

/// The rows of a key follow one another in the outbox and on their rank. After
/// an error `send_row` may hold anything: blocks that have not met the others
/// pack nothing. So what is looked up by it is bounded, and where the counts
/// tell of the error nothing is looked up.
void DispatchPlaceKernel::finishSendRow(Value areFine) {
  Value zero = b.index(0), slots = b.index(numSlots());
  b.syncBlock();
  auto rowsOf = [&](Value key) { return b.loadIndex(all, {b.me(), key}); };
  auto emit = [&](Value key, Value before, Value) {
    storeEntry(b.sub(loadEntry(start, key), before), start, key);
  };
  auto keysOf = [&](Value rank) -> std::pair<Value, Value> {
    if (op.isExpertMajor())
      return expertsOf(rank);
    return {rank, b.add(rank, b.index(1))};
  };
  if (messages.pairRows())
    messages.layOutPadded(keysOf, rowsOf, emit);
  else
    messages.layOut(b.index(numExchanged()), rowsOf, emit);
  b.syncBlock();
  Value sendRow = op.getOutput(Output::SendRow);
  auto [first, end] = b.blockRange(numTokens);
  Value entries = b.select(areFine, b.mul(b.sub(end, first), slots), zero);
  b.forThreads(entries, [&, first = first](Value i) {
    Value token = b.add(first, arith::DivUIOp::create(b, i, slots));
    Value slot = arith::RemUIOp::create(b, i, slots);
    Value packed = b.loadIndex(sendRow, {token, slot});
    b.ifThen(b.cmp(Pred::sge, packed, zero), [&] {
      Value key = slot, isKey = b.integer(b.getI1Type(), 1);
      if (op.isExpertMajor()) {
        Value expert = b.loadIndex(op.getTopkIdx(), {token, slot});
        isKey = b.cmp(Pred::ult, expert, b.index(placement.numExperts));
        key = b.select(isKey, expert, zero);
      }
      Value row = b.add(packed, loadEntry(start, key));
      Value isKept = b.both(isKey, b.cmp(Pred::ult, row, b.index(capacity)));
      b.storeIndex(b.select(isKept, row, b.index(-1)), sendRow, {token, slot});
    });
  });
}
