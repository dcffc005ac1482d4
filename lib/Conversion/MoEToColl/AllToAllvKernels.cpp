//===- AllToAllvKernels.cpp - an alltoallv as kernels and messages --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/AllToAllvProtocol.h"
#include "KernelBlocks.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

namespace {

/// An alltoallv on a GPU, between ranks that exchange messages. A kernel checks
/// the counts of this rank, a second one finds out from those of all ranks what
/// goes where; rows are sent from where they lie to where they belong.
class AllToAllvKernels {
public:
  AllToAllvKernels(AllToAllvOp op, KernelMessages &b)
      : op(op), b(b), recv(op.getOuts()[0]),
        capacity(cast<MemRefType>(recv.getType()).getDimSize(0)) {}

  void lower();

private:
  Value checkedCounts(Value numRows);
  void checkCounts(Value all);
  void place(Value all, KernelTables &tables);
  Value keptOf(Value start, Value rows);
  void moveThroughBoxes(Value send, Value all);
  void placeInBoxes(Value all, KernelBlocks &blocks,
                    const KernelBlocks::Box &outbox,
                    const KernelBlocks::Box &inbox);
  void checkPairs(Value all);

  AllToAllvOp op;
  KernelMessages &b;
  Value recv;
  int64_t capacity;
};

} // namespace

void moe::lowerAllToAllvToMessageKernels(AllToAllvOp op, KernelMessages &b) {
  AllToAllvKernels(op, b).lower();
}

void AllToAllvKernels::lower() {
  b.phase("count");
  Value send = b.withContiguousRows(op.getSend());
  Value counts = checkedCounts(b.dim(send, 0));
  b.phase("exchange");
  Value all = b.allGatherCounts(counts);
  b.phase("place");
  if (b.pairRows())
    return moveThroughBoxes(send, all);
  KernelTables tables(b);
  place(all, tables);
  tables.read();
  b.phase("move");
  Value rows = b.withAlignedRows(recv);
  tables.exchange({{send, rows}});
  b.copyBack(rows, recv);
}

/// After an error (alltoallv_s4) -1 for all ranks.
Value AllToAllvKernels::checkedCounts(Value numRows) {
  Value counts = b.scratch({1, b.numRanks()}, b.getI32Type());
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      b.onThread(b.index(0), [&] {
        Value areFine = areSendCountsFine(op, numRows, b);
        b.loop(b.numRanks(), [&](Value peer) {
          Value rows = b.load(op.getSendCounts(), {peer});
          b.store(b.select(areFine, rows, b.i32(-1)), counts,
                  {b.index(0), peer});
        });
      });
    });
  });
  return counts;
}

/// What lies past the capacity is left out, on both sides (alltoallv_s5).
Value AllToAllvKernels::keptOf(Value start, Value rows) {
  if (op.getOverflow() != Overflow::drop)
    return rows;
  Value room = b.sub(b.index(capacity), start);
  room = arith::MaxSIOp::create(b, room, b.index(0));
  return arith::MinSIOp::create(b, rows, room);
}

/// A thread per rank.
void AllToAllvKernels::checkCounts(Value all) {
  b.forThreads(b.index(b.numRanks()), [&](Value peer) {
    Value total = b.sumOfSenders(all, peer).second;
    PeerCounts counts = countsOf(op, all, peer, total, b);
    moe::checkCounts(op, all, peer, counts, b);
    b.noteError(counts.isFine);
  });
}

void AllToAllvKernels::place(Value all, KernelTables &tables) {
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      Value ranks = b.index(b.numRanks());
      checkCounts(all);
      b.forThreads(ranks, [&](Value peer) {
        Value rows = b.loadIndex(all, {b.me(), peer});
        Value before = b.sumOfSenders(all, peer).first;
        tables.set(KernelTables::SendCount, peer, keptOf(before, rows));
      });
      // Rows lie in `send` in the order of the ranks, whatever is left out.
      b.layOut(
          ranks, [&](Value peer) { return b.loadIndex(all, {b.me(), peer}); },
          [&](Value peer, Value before, Value) {
            tables.set(KernelTables::SendStart, peer, before);
          });
      b.layOut(
          ranks,
          [&](Value sender) { return b.loadIndex(all, {sender, b.me()}); },
          [&](Value sender, Value before, Value rows) {
            tables.set(KernelTables::RecvStart, sender, before);
            tables.set(KernelTables::RecvCount, sender, keptOf(before, rows));
          });
    });
  });
}

//===----------------------------------------------------------------------===//
// Padding
//===----------------------------------------------------------------------===//

/// Rows that lie on their receiver where others may lie: packed, and unpacked.
void AllToAllvKernels::moveThroughBoxes(Value send, Value all) {
  // A block for each rank.
  KernelBlocks blocks(b, Layout::rank_major,
                      ExpertPlacement{b.numRanks(), b.numRanks()});
  KernelBlocks::Box outbox = blocks.allocateBox(), inbox = blocks.allocateBox();
  placeInBoxes(all, blocks, outbox, inbox);
  b.phase("pack");
  Value numRows = b.index(b.numPaddedRows());
  Value packed = b.rowsLike(send, numRows);
  Value received = b.rowsLike(recv, numRows);
  blocks.pack(outbox, {{send, packed}});
  b.phase("move");
  KernelTables(b).exchange({{packed, received}});
  b.phase("unpack");
  Value rows = b.withAlignedRows(recv);
  blocks.unpack(inbox, {{received, rows}}, capacity);
  b.copyBack(rows, recv);
}

/// After an error the blocks have no rows, since the kernels that follow run in
/// any case.
void AllToAllvKernels::placeInBoxes(Value all, KernelBlocks &blocks,
                                    const KernelBlocks::Box &outbox,
                                    const KernelBlocks::Box &inbox) {
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      b.trackErrors();
      b.syncBlock();
      checkCounts(all);
      if (b.mayExceedPairRows())
        checkPairs(all);
      b.syncBlock();
      Value zero = b.index(0), ranks = b.index(b.numRanks());
      Value isFine = b.hasNoError();
      auto sent = [&](Value peer) { return b.loadIndex(all, {b.me(), peer}); };
      auto received = [&](Value sender) {
        return b.loadIndex(all, {sender, b.me()});
      };
      auto storePlaces = [&](const KernelBlocks::Box &box,
                             llvm::function_ref<Value(Value)> rowsOf) {
        b.layOut(ranks, rowsOf, [&](Value rank, Value before, Value) {
          b.storeIndex(before, box.places, {rank});
        });
      };
      storePlaces(outbox, sent);
      storePlaces(inbox, received);
      auto storeBox = [&](const KernelBlocks::Box &box,
                          llvm::function_ref<Value(Value)> rowsOf,
                          llvm::function_ref<Value(Value)> startOf) {
        blocks.storeBox(box, [&](Value rank) {
          Value kept = keptOf(startOf(rank), rowsOf(rank));
          return b.select(isFine, kept, zero);
        });
      };
      storeBox(outbox, sent,
               [&](Value peer) { return b.sumOfSenders(all, peer).first; });
      b.syncBlock();
      storeBox(inbox, received, [&](Value sender) {
        return b.loadIndex(inbox.places, {sender});
      });
    });
  });
}

/// A thread per receiver. All ranks see all counts, and so report the same.
void AllToAllvKernels::checkPairs(Value all) {
  Value zero = b.index(0), ranks = b.index(b.numRanks());
  Value room = b.index(*b.pairRows());
  b.forThreads(ranks, [&](Value receiver) {
    b.reduce(zero, ranks, zero,
             [&](Value sender, ValueRange before) -> SmallVector<Value> {
               Value rows = b.loadIndex(all, {sender, receiver});
               Value kept = keptOf(before[0], rows);
               Value hasRoom = b.cmp(Pred::sle, kept, room);
               Value isMine = b.cmp(Pred::eq, sender, b.me());
               b.check(hasRoom, symm::Failure::capacity_exceeded, kPairRowsText,
                       room, kept, b.select(isMine, receiver, sender));
               b.noteError(hasRoom);
               return {b.add(before[0], rows)};
             });
  });
}
