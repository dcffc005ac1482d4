//===- AllToAllvKernel.cpp - lower moe.alltoallv to a kernel --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

/// Bytes that a subgroup moves at a time: what its lanes hold in registers.
static constexpr int64_t kPutBytes = 4096;

namespace {

/// Every block works out the few numbers for itself; one sends the counts; rows
/// are spread over all subgroups.
class AllToAllvKernel {
public:
  AllToAllvKernel(AllToAllvOp op, KernelBuilder &b)
      : op(op), b(b),
        capacity(cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(0)) {}

  void lower();

private:
  void sendCounts();
  Value findStarts();
  void putRows(Value ok);
  /// Sum of the counts of ranks below `peer` in `send_counts`.
  Value rowsBefore(Value peer) {
    return b.reduce(
        b.index(0), peer, b.index(0),
        [&](Value rank, ValueRange sum) -> SmallVector<Value> {
          return {b.add(sum[0], b.loadIndex(op.getSendCounts(), {rank}))};
        })[0];
  }

  AllToAllvOp op;
  KernelBuilder &b;
  int64_t capacity;
  Value send, numRows;
  Value all, arrived, epoch;
};

} // namespace

void moe::lowerAllToAllvToKernel(AllToAllvOp op, KernelBuilder &b) {
  AllToAllvKernel(op, b).lower();
}

void AllToAllvKernel::lower() {
  b.phase("prepare");
  send = b.withContiguousRows(op.getSend());
  numRows = b.dim(send, 0);
  all = b.persistent({b.numRanks(), b.numRanks()}, b.getI32Type());
  Value runs = b.runCounters();
  arrived = b.flags();
  Value done = b.blockFlags();
  b.launch(/*stageBytes=*/0, [&] {
    epoch = b.beginRun(runs);
    b.trackErrors();
    b.phase("exchange");
    b.onFirstBlock([&] { sendCounts(); });
    Value haveArrived = b.syncBlockAll(b.waitForPeers(arrived, epoch));
    b.noteError(haveArrived);
    b.phase("place");
    Value ok = b.both(haveArrived, findStarts());
    b.phase("put");
    putRows(ok);
    b.phase("complete");
    b.signalFromBlock(done, epoch);
    b.endRun(runs, epoch);
    b.waitForBlocks(done, epoch);
  });
}

/// Checks the counts (alltoallv_s4) and sends them; bad ones are sent as -1,
/// which tells all ranks to put nothing.
void AllToAllvKernel::sendCounts() {
  Value zero = b.index(0);
  b.forPeers([&](Value peer) {
    // Every thread checks all counts: they are few.
    Value ok = b.reduce(
        zero, b.index(b.numRanks()), {b.index(0), b.integer(b.getI1Type(), 1)},
        [&](Value rank, ValueRange carried) -> SmallVector<Value> {
          Value rows = b.loadIndex(op.getSendCounts(), {rank});
          Value left = b.sub(numRows, carried[0]);
          Value isFine = b.both(b.cmp(Pred::sge, rows, zero),
                                b.cmp(Pred::sle, rows, left));
          b.check(isFine, symm::Failure::invalid_count, "send_counts", left,
                  rows, rank);
          return {b.add(carried[0], b.select(isFine, rows, zero)),
                  b.both(carried[1], isFine)};
        })[1];
    b.loop(b.numRanks(), [&](Value rank) {
      Value count = b.load(op.getSendCounts(), {rank});
      b.store(b.select(ok, count, b.i32(-1)),
              symm::PeerOp::create(b, all, peer), {b.me(), rank});
    });
    symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
  });
}

/// Whether all ranks have sane counts and room (alltoallv_s5); notes
/// `recv_counts`.
Value AllToAllvKernel::findStarts() {
  Value zero = b.index(0), end = b.index(b.numRanks());
  Value ok = b.reduce(
      zero, end, b.integer(b.getI1Type(), 1),
      [&](Value peer, ValueRange carried) -> SmallVector<Value> {
        Value total =
            b.reduce(zero, end, zero,
                     [&](Value sender, ValueRange sum) -> SmallVector<Value> {
                       return {b.add(sum[0], b.loadIndex(all, {sender, peer}))};
                     })[0];
        Value isAlive = b.cmp(Pred::sge, b.load(all, {peer, zero}), b.i32(0));
        Value fits = b.cmp(Pred::sle, total, b.index(capacity));
        Value ok = b.both(carried[0], isAlive);
        if (op.getOverflow() == Overflow::error)
          ok = b.both(ok, fits);
        b.onFirstBlock([&] {
          b.onThread(zero, [&] {
            b.check(isAlive, symm::Failure::peer_failed, "status of a peer",
                    b.i64(0), b.i64(-1), peer);
            if (op.getOverflow() == Overflow::error)
              b.check(fits, symm::Failure::capacity_exceeded, "rows received",
                      b.index(capacity), total, peer);
            b.store(b.load(all, {peer, b.me()}), op.getOuts()[1], {peer});
          });
        });
        return {ok};
      })[0];
  return ok;
}

/// Rows for one rank follow one another on both sides, so that short ones move
/// together; all subgroups of all blocks take part.
void AllToAllvKernel::putRows(Value ok) {
  Value zero = b.index(0), limit = b.index(capacity);
  Value subgroups = b.index(b.numSubgroups());
  Value first = b.add(b.mul(b.block(), subgroups), b.subgroup());
  Value stride = b.mul(b.numBlocks(), subgroups);
  int64_t rowBytes = getRowBytes(cast<MemRefType>(send.getType()));
  int64_t together =
      std::max<int64_t>(kPutBytes / std::max<int64_t>(rowBytes, 1), 1);
  b.ifThen(ok, [&] {
    b.forEachPeer([&](Value peer) {
      Value from = rowsBefore(peer);
      Value to =
          b.reduce(zero, b.me(), zero,
                   [&](Value sender, ValueRange sum) -> SmallVector<Value> {
                     return {b.add(sum[0], b.loadIndex(all, {sender, peer}))};
                   })[0];
      // Only `drop` exceeds the capacity.
      Value room = arith::MaxSIOp::create(b, b.sub(limit, to), zero);
      Value rows = arith::MinSIOp::create(
          b, b.loadIndex(op.getSendCounts(), {peer}), room);
      auto put = [&](Value row, int64_t count) {
        symm::PutEachOp::create(b, send, b.add(from, row), op.getOuts()[0],
                                b.add(to, row), peer, zero, /*lanes=*/1,
                                /*member=*/Value(), /*team=*/1, count);
      };
      Value groups = arith::DivUIOp::create(b, rows, b.index(together));
      b.step(first, groups, stride, [&](Value group) {
        put(b.mul(group, b.index(together)), together);
      });
      if (together == 1)
        return;
      Value rest = b.mul(groups, b.index(together));
      b.step(b.add(rest, first), rows, stride, [&](Value row) { put(row, 1); });
    });
  });
}
