//===- AllToAllvKernels.cpp - an alltoallv as kernels and messages --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelMessages.h"

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
      : op(op), b(b), recv(op.getOuts()[0]), recvCounts(op.getOuts()[1]),
        capacity(cast<MemRefType>(recv.getType()).getDimSize(0)) {}

  void lower();

private:
  Value checkedCounts(Value numRows);
  void place(Value all, KernelTables &tables);
  Value keptOf(Value start, Value rows);

  AllToAllvOp op;
  KernelMessages &b;
  Value recv, recvCounts;
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
        Value zero = b.index(0), yes = b.integer(b.getI1Type(), 1);
        Value areFine = b.reduce(
            zero, b.index(b.numRanks()), {zero, yes},
            [&](Value peer, ValueRange carried) -> SmallVector<Value> {
              Value rows = b.loadIndex(op.getSendCounts(), {peer});
              Value end = b.add(carried[0], rows);
              Value isFine = b.both(b.cmp(Pred::sge, rows, zero),
                                    b.cmp(Pred::sle, end, numRows));
              // Of several the first one: what comes after it is of no meaning.
              b.ifThen(carried[1], [&] {
                b.check(isFine, symm::Failure::invalid_count, kSendCountsText,
                        {numRows, end, peer, carried[0]});
              });
              return {end, b.both(carried[1], isFine)};
            })[1];
        b.loop(b.numRanks(), [&](Value peer) {
          Value rows = b.load(op.getSendCounts(), {peer});
          b.store(b.select(areFine, rows, b.i32(-1)), counts, {zero, peer});
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

void AllToAllvKernels::place(Value all, KernelTables &tables) {
  b.launch(/*stageBytes=*/0, [&] {
    b.onFirstBlock([&] {
      Value zero = b.index(0), ranks = b.index(b.numRanks());
      b.forThreads(ranks, [&](Value peer) {
        Value isAlive = b.cmp(Pred::sge, b.load(all, {peer, zero}), b.i32(0));
        b.check(isAlive, symm::Failure::peer_failed, "status of a peer",
                b.i64(0), b.i64(-1), peer);
        auto [before, total] = b.sumOfSenders(all, peer);
        if (op.getOverflow() == Overflow::error)
          b.check(b.cmp(Pred::sle, total, b.index(capacity)),
                  symm::Failure::capacity_exceeded, kRowsReceivedText,
                  b.index(capacity), total, peer);
        Value rows = b.loadIndex(all, {b.me(), peer});
        tables.set(KernelTables::SendCount, peer, keptOf(before, rows));
        b.store(b.load(all, {peer, b.me()}), recvCounts, {peer});
      });
      // Rows lie in `send` in the order of the ranks, whatever is left out.
      b.ifThen(b.cmp(Pred::eq, b.subgroup(), zero), [&] {
        b.scanInLanes(
            zero, ranks, zero,
            [&](Value peer) { return b.loadIndex(all, {b.me(), peer}); },
            [&](Value peer, Value before, Value) {
              tables.set(KernelTables::SendStart, peer, before);
            });
        b.scanInLanes(
            zero, ranks, zero,
            [&](Value sender) { return b.loadIndex(all, {sender, b.me()}); },
            [&](Value sender, Value before, Value rows) {
              tables.set(KernelTables::RecvStart, sender, before);
              tables.set(KernelTables::RecvCount, sender, keptOf(before, rows));
            });
      });
    });
  });
}
