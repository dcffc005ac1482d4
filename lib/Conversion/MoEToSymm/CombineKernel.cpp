//===- CombineKernel.cpp - lower moe.combine to a kernel ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CombineKernel.h"

using namespace mlir;
using namespace mlir::moe;

void moe::lowerCombineToKernel(CombineOp op, KernelBuilder &b) {
  CombineKernel(op, b).lower();
}

int64_t CombineKernel::vectorLength() {
  int64_t bytes = 16;
  while ((rowLength * elementBytes()) % bytes != 0)
    bytes /= 2;
  return std::max<int64_t>(bytes / elementBytes(), 1);
}

void CombineKernel::lower() {
  b.phase("prepare");
  numTokens = b.checkedTokens(op.getSendRow(), op.getTokenBound(),
                              op.getSendRow().getType().isDynamicDim(0));
  Value epochCounter = b.persistent({1}, b.getI64Type());
  Value doneCounter = b.persistent({1}, b.getI64Type());
  ready = b.flags();
  Value released = op.getDeferRelease() ? Value() : b.flags();
  b.launch(movesInBulk() ? numStages() * stageBytes() : 0, [&] {
    Value zero = b.index(0);
    epoch = b.add(b.load(epochCounter, zero), b.i64(1));
    b.phase("ready");
    b.onFirstBlock([&] {
      b.forPeers([&](Value peer) {
        symm::SignalOp::create(b, ready, b.me(), peer, epoch);
      });
    });
    b.phase("reduce");
    auto [first, end] = b.blockRange(numTokens);
    if (movesInBulk()) {
      reduceTokensInBulk(first, end);
    } else {
      Value teams = b.index(b.numSubgroups() / b.launchShape().team);
      Value second = b.add(first, teams);
      b.forTeams(first, end, [&](Value token, Value member) {
        reduceToken(token, member, b.cmp(Pred::ult, token, second));
      });
    }

    b.phase("release");
    Value last = symm::GridArriveOp::create(b, b.getI1Type(), doneCounter,
                                            /*local=*/true);
    b.ifThen(last, [&] {
      if (released)
        b.forPeers([&](Value peer) {
          symm::SignalOp::create(b, released, b.me(), peer, epoch);
          symm::WaitOp::create(b, released, peer, peer, epoch);
        });
      b.onThread(zero, [&] { b.store(epoch, epochCounter, zero); });
    });
  });
}

/// Sorts the rows of `token` into lanes. A vote shows every lane which lanes
/// have a row; with expert_major the number of smaller experts among them is a
/// row's place.
CombineKernel::RowList CombineKernel::listRows(Value token) {
  Value none = b.index(-1), zero = b.index(0);
  RowList list{zero, none, zero, {}};
  for (int64_t base = 0; base < numSlots(); base += kSubgroupSize) {
    int64_t lanes = std::min<int64_t>(kSubgroupSize, numSlots() - base);
    Value slot = b.add(b.index(base), b.lane());
    auto look = scf::IfOp::create(
        b, TypeRange{b.getIndexType(), b.getIndexType()},
        b.cmp(Pred::ult, b.lane(), b.index(lanes)), /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(look.thenBlock());
      Value row = b.loadIndex(op.getSendRow(), {token, slot});
      Value inRange = b.both(b.cmp(Pred::sge, row, none),
                             b.cmp(Pred::slt, row, b.index(capacity)));
      b.check(inRange, symm::Failure::invalid_count, "send_row",
              b.index(capacity - 1), row);
      row = b.select(inRange, row, none);
      Value owner = slot;
      if (op.isExpertMajor()) {
        owner = b.loadIndex(op.getTopk(), {token, slot});
        Value isExpert = b.cmp(Pred::ult, owner, b.index(placement.numExperts));
        row = b.select(isExpert, row, none);
      }
      scf::YieldOp::create(b, ValueRange{row, owner});
      b.setInsertionPointToStart(look.elseBlock());
      scf::YieldOp::create(b, ValueRange{none, zero});
    }
    Value row = look.getResult(0), owner = look.getResult(1);
    Value isRow = b.cmp(Pred::sge, row, zero);
    Value mask = b.ballot(isRow);
    Value place = b.countBits(b.bitsBelow(mask));
    if (op.isExpertMajor()) {
      place = zero;
      for (int64_t other = 0; other < lanes; ++other) {
        Value otherExpert = b.shuffle(owner, b.index(other));
        Value otherIsRow =
            b.cmp(Pred::sge, b.shuffle(row, b.index(other)), zero);
        Value isLess = b.both(otherIsRow, b.cmp(Pred::slt, otherExpert, owner));
        place = b.select(isLess, b.add(place, b.index(1)), place);
      }
      owner = b.owner(b.select(isRow, owner, zero), placement);
    }
    place = b.add(list.count, place);
    // Rows go to the lanes of their places; K bounds their number to 32.
    for (int64_t i = 0; i < lanes; ++i) {
      Value target = b.add(list.count, b.index(i));
      Value from = b.ballot(b.both(isRow, b.cmp(Pred::eq, place, target)));
      Value lane = b.lowestBit(from);
      Value movedRow = b.shuffle(row, lane);
      Value movedPeer = b.shuffle(owner, lane);
      Value isMine = b.both(b.cmp(Pred::eq, b.lane(), target),
                            b.cmp(Pred::ne, from, b.i32(0)));
      list.row = b.select(isMine, movedRow, list.row);
      list.peer = b.select(isMine, movedPeer, list.peer);
    }
    list.count = b.add(list.count, b.countBits(mask));
  }
  return list;
}

void CombineKernel::loadWeights(RowList &list) {
  if (!op.getWeights())
    return;
  Value isRow = b.cmp(Pred::sge, list.row, b.index(0));
  auto look = scf::IfOp::create(b, TypeRange{b.getF32Type()}, isRow,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  Value there = symm::PeerOp::create(b, op.getWeights(), list.peer);
  scf::YieldOp::create(b, b.load(there, {list.row}));
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, Value(arith::ConstantFloatOp::create(
                              b, b.getF32Type(), APFloat(0.0f))));
  list.weight = look.getResult(0);
}

void CombineKernel::waitForRows() {
  b.phase("ready");
  for (int64_t base = 0; base < b.numRanks(); base += kSubgroupSize) {
    int64_t lanes = std::min(kSubgroupSize, b.numRanks() - base);
    b.ifThen(b.cmp(Pred::ult, b.lane(), b.index(lanes)), [&] {
      Value peer = b.add(b.index(base), b.lane());
      symm::WaitOp::create(b, ready, peer, peer, epoch);
    });
  }
  b.syncSubgroup();
  b.phase("reduce");
}
