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

/// Every block works out the few numbers for itself, a thread for each rank;
/// one sends the counts; rows are spread over all subgroups.
class AllToAllvKernel {
public:
  AllToAllvKernel(AllToAllvOp op, KernelBuilder &b)
      : op(op), b(b),
        capacity(cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(0)) {}

  void lower();

private:
  void sendCounts();
  Value place();
  void putRows();
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
  /// Per rank: its first row in `send`, where that goes, and how many there
  /// are.
  Value from, to, rows;
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
    Value ok = b.both(haveArrived, place());
    b.phase("put");
    b.ifThen(ok, [&] { putRows(); });
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

/// A thread works out what concerns one rank, and notes `recv_counts`. Returns
/// whether all ranks have sane counts and room (alltoallv_s5); meets the block.
Value AllToAllvKernel::place() {
  Value zero = b.index(0), yes = b.integer(b.getI1Type(), 1);
  for (Value *table : {&from, &to, &rows})
    *table = b.workgroup({b.numRanks()}, b.getI64Type());
  auto peers =
      scf::ForOp::create(b, b.thread(), b.index(b.numRanks()),
                         b.index(b.launchShape().threads), ValueRange{yes});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(peers.getBody());
  Value peer = peers.getInductionVar();
  auto [before, total] = b.sumOfSenders(all, peer);
  Value isAlive = b.cmp(Pred::sge, b.load(all, {peer, zero}), b.i32(0));
  Value fits = b.cmp(Pred::sle, total, b.index(capacity));
  Value ok = isAlive;
  if (op.getOverflow() == Overflow::error)
    ok = b.both(ok, fits);
  // Only `drop` exceeds the capacity.
  Value room =
      arith::MaxSIOp::create(b, b.sub(b.index(capacity), before), zero);
  Value count = b.loadIndex(op.getSendCounts(), {peer});
  b.storeIndex(rowsBefore(peer), from, {peer});
  b.storeIndex(before, to, {peer});
  b.storeIndex(arith::MinSIOp::create(b, count, room), rows, {peer});
  b.onFirstBlock([&, total = total] {
    b.check(isAlive, symm::Failure::peer_failed, "status of a peer", b.i64(0),
            b.i64(-1), peer);
    if (op.getOverflow() == Overflow::error)
      b.check(fits, symm::Failure::capacity_exceeded, "rows received",
              b.index(capacity), total, peer);
    b.store(b.load(all, {peer, b.me()}), op.getOuts()[1], {peer});
  });
  scf::YieldOp::create(b, b.both(peers.getRegionIterArg(0), ok));
  b.setInsertionPointAfter(peers);
  return b.syncBlockAll(peers.getResult(0));
}

/// Rows for one rank follow one another on both sides, so that short ones move
/// together. All subgroups of all blocks share the rows for each rank, and turn
/// to the ranks in different orders: rows that stay are copied beside those
/// that leave, and no two subgroups have to use the same link.
void AllToAllvKernel::putRows() {
  Value subgroups = b.index(b.numSubgroups());
  Value first = b.add(b.mul(b.block(), subgroups), b.subgroup());
  Value stride = b.mul(b.numBlocks(), subgroups);
  int64_t rowBytes = getRowBytes(cast<MemRefType>(send.getType()));
  int64_t together =
      std::max<int64_t>(kPutBytes / std::max<int64_t>(rowBytes, 1), 1);
  b.loop(b.numRanks(), [&](Value i) {
    Value peer = b.rotated(b.add(first, i));
    Value start = b.loadIndex(from, {peer}), there = b.loadIndex(to, {peer});
    Value count = b.loadIndex(rows, {peer});
    auto put = [&](Value row, int64_t number) {
      symm::PutEachOp::create(b, send, b.add(start, row), op.getOuts()[0],
                              b.add(there, row), peer, b.index(0), /*lanes=*/1,
                              /*member=*/Value(), /*team=*/1, number);
    };
    Value groups = arith::DivUIOp::create(b, count, b.index(together));
    b.step(first, groups, stride, [&](Value group) {
      put(b.mul(group, b.index(together)), together);
    });
    if (together == 1)
      return;
    Value rest = b.mul(groups, b.index(together));
    b.step(b.add(rest, first), count, stride, [&](Value row) { put(row, 1); });
  });
}
