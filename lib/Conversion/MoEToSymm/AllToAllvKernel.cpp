//===- AllToAllvKernel.cpp - lower moe.alltoallv to a kernel --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/AllToAllvProtocol.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

/// Ratio of the sizes of pieces: a rank has about as many of each size but the
/// largest, at most.
static constexpr int64_t kSizeRatio = 16;

namespace {

/// Every block works out the few numbers for itself, a thread for each rank;
/// one sends the counts.
///
/// Rows are shared out in pieces: several short rows, which follow one another
/// on both sides, or a part of a long one. Short rows that do not fill a piece
/// make smaller ones. Subgroups of all blocks take pieces one by one, so that
/// it does not matter how many there are for each rank, nor how fast its link
/// is.
class AllToAllvKernel {
public:
  AllToAllvKernel(AllToAllvOp op, KernelBuilder &b);

  void lower();

private:
  void sendCounts();
  Value place();
  void numberPieces();
  void putRows();
  void putPiece(Value piece);
  /// Sum of the counts of ranks below `peer` in `send_counts`.
  Value rowsBefore(Value peer);
  /// How many pieces of `size` rows `count` rows make, and the rows left.
  std::pair<Value, Value> split(Value count, int64_t size) {
    if (size == 1)
      return {b.mul(count, b.index(piecesOfRow)), b.index(0)};
    Value rows = b.index(size);
    return {arith::DivUIOp::create(b, count, rows),
            arith::RemUIOp::create(b, count, rows)};
  }
  int64_t numGroups() { return llvm::divideCeil(b.numRanks(), kSubgroupSize); }

  AllToAllvOp op;
  KernelBuilder &b;
  int64_t capacity;
  /// Rows of the pieces of each size, the largest first and the last 1.
  SmallVector<int64_t> pieceSizes;
  /// Pieces that a single row is moved in; 1 if there are larger sizes.
  int64_t piecesOfRow;
  Value send, numRows;
  Value all, arrived, tickets, epoch;
  /// Per rank: its first row in `send`, where that goes, and how many there
  /// are.
  Value from, to, rows;
  /// Pieces for the ranks below that of this lane, in each group of 32 ranks.
  SmallVector<Value> piecesBefore;
  Value numPieces;
};

} // namespace

void moe::lowerAllToAllvToKernel(AllToAllvOp op, KernelBuilder &b) {
  AllToAllvKernel(op, b).lower();
}

AllToAllvKernel::AllToAllvKernel(AllToAllvOp op, KernelBuilder &b)
    : op(op), b(b) {
  auto recv = cast<MemRefType>(op.getOuts()[0].getType());
  capacity = recv.getDimSize(0);
  int64_t rowBytes = std::max<int64_t>(getRowBytes(recv), 1);
  piecesOfRow = std::min(b.launchShape().team, getMaxPiecesOfRow(rowBytes));
  if (piecesOfRow == 1)
    for (int64_t rows = kPieceBytes / rowBytes; rows > 1; rows /= kSizeRatio)
      pieceSizes.push_back(rows);
  pieceSizes.push_back(1);
}

void AllToAllvKernel::lower() {
  b.phase("prepare");
  send = b.withContiguousRows(op.getSend());
  numRows = b.dim(send, 0);
  all = b.persistent({b.numRanks(), b.numRanks()}, b.getI32Type());
  Value runs = b.runCounters();
  arrived = b.handshakeFlags();
  Value done = b.blockFlags();
  tickets = b.ticketCounters();
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
    b.resetTickets(tickets, epoch);
    b.waitForBlocks(done, epoch);
  });
}

/// Checks the counts (alltoallv_s4) and sends them; bad ones are sent as -1,
/// which tells all ranks to put nothing.
void AllToAllvKernel::sendCounts() {
  b.forPeers([&](Value peer) {
    // Every thread checks all of them.
    Value ok = areSendCountsFine(op, numRows, b);
    b.loop(b.numRanks(), [&](Value rank) {
      Value count = b.load(op.getSendCounts(), {rank});
      b.store(b.select(ok, count, b.i32(-1)),
              symm::PeerOp::create(b, all, peer), {b.me(), rank});
    });
    symm::SignalOp::create(b, arrived, b.me(), peer, epoch);
  });
}

Value AllToAllvKernel::rowsBefore(Value peer) {
  Value zero = b.index(0);
  return b.reduce(zero, b.index(b.numRanks()), zero,
                  [&](Value rank, ValueRange sum) -> SmallVector<Value> {
                    Value rows = b.loadIndex(op.getSendCounts(), {rank});
                    Value isBelow = b.cmp(Pred::ult, rank, peer);
                    return {b.add(sum[0], b.select(isBelow, rows, zero))};
                  })[0];
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
  PeerCounts counts = countsOf(op, all, peer, total, b);
  // Only `drop` exceeds the capacity.
  Value room =
      arith::MaxSIOp::create(b, b.sub(b.index(capacity), before), zero);
  Value count = b.loadIndex(op.getSendCounts(), {peer});
  b.storeIndex(rowsBefore(peer), from, {peer});
  b.storeIndex(before, to, {peer});
  b.storeIndex(arith::MinSIOp::create(b, count, room), rows, {peer});
  b.onFirstBlock([&] { checkCounts(op, all, peer, counts, b); });
  scf::YieldOp::create(b, b.both(peers.getRegionIterArg(0), counts.isFine));
  b.setInsertionPointAfter(peers);
  return b.syncBlockAll(peers.getResult(0));
}

/// Each subgroup works out how many pieces there are before those of each rank:
/// a lane for one rank of each group of 32.
void AllToAllvKernel::numberPieces() {
  Value zero = b.index(0);
  numPieces = zero;
  for (int64_t group = 0; group < numGroups(); ++group) {
    Value peer = b.add(b.lane(), b.index(group * kSubgroupSize));
    Value isRank = b.cmp(Pred::ult, peer, b.index(b.numRanks()));
    Value count = b.loadIndex(rows, {b.select(isRank, peer, zero)});
    Value pieces = zero;
    for (int64_t size : pieceSizes) {
      auto [number, rest] = split(count, size);
      pieces = b.add(pieces, number);
      count = rest;
    }
    pieces = b.select(isRank, pieces, zero);
    piecesBefore.push_back(b.add(numPieces, b.sumOfLanesBelow(pieces)));
    numPieces = b.add(numPieces, b.sumOverLanes(pieces));
  }
}

/// Pieces are numbered rank by rank and taken from as many places of this list
/// in turn as make it likely that each rank has one: in proportion to their
/// rows, rows that stay are copied beside those that leave, and all links are
/// in use.
void AllToAllvKernel::putRows() {
  numberPieces();
  Value places =
      b.index(llvm::PowerOf2Ceil(std::max(kSubgroupSize, b.numRanks())));
  Value length = arith::CeilDivUIOp::create(b, numPieces, places);
  b.forTickets(tickets, epoch, b.mul(places, length), [&](Value number) {
    Value piece =
        b.add(b.mul(arith::RemUIOp::create(b, number, places), length),
              arith::DivUIOp::create(b, number, places));
    // The last places can be past the end of the list.
    b.ifThen(b.cmp(Pred::ult, piece, numPieces), [&] { putPiece(piece); });
  });
}

/// Puts piece `piece`, the same on all lanes.
void AllToAllvKernel::putPiece(Value piece) {
  // Its rank is the last one with no more pieces before its own than that.
  Value one = b.index(1), upTo, before;
  for (Value pieces : piecesBefore) {
    Value lanes = b.countBits(b.ballot(b.cmp(Pred::ule, pieces, piece)));
    if (!upTo) {
      upTo = lanes;
      before = b.shuffle(pieces, b.sub(lanes, one));
      continue;
    }
    Value isHere = b.cmp(Pred::ne, lanes, b.index(0));
    Value last = b.select(isHere, b.sub(lanes, one), b.index(0));
    before = b.select(isHere, b.shuffle(pieces, last), before);
    upTo = b.add(upTo, lanes);
  }
  Value peer = b.sub(upTo, one);
  Value number = b.sub(piece, before);
  Value start = b.loadIndex(from, {peer}), there = b.loadIndex(to, {peer});
  auto put = [&](Value row, int64_t count, Value part) {
    symm::PutEachOp::create(b, send, b.add(start, row), op.getOuts()[0],
                            b.add(there, row), peer, b.index(0), /*lanes=*/1,
                            part, piecesOfRow, count);
  };
  if (piecesOfRow > 1) {
    Value parts = b.index(piecesOfRow);
    return put(arith::DivUIOp::create(b, number, parts), 1,
               arith::RemUIOp::create(b, number, parts));
  }
  if (pieceSizes.size() == 1)
    return put(number, 1, Value());
  Value left = b.loadIndex(rows, {peer}), row = b.index(0);
  for (int64_t size : pieceSizes) {
    auto [pieces, rest] = split(left, size);
    // Numbers of pieces of another size are negative or too large.
    b.ifThen(b.cmp(Pred::ult, number, pieces), [&] {
      put(b.add(row, b.mul(number, b.index(size))), size, Value());
    });
    number = b.sub(number, pieces);
    row = b.add(row, b.sub(left, rest));
    left = rest;
  }
}
