//===- CombineSum.cpp - the rows of a token, listed by a kernel -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CombineSum.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

/// Where sums that are put in one round are wider than rows, stores decide:
/// lanes side by side fill whole sectors of memory, which links and memory
/// move. And there are no registers for the sums of sixteen floats of one byte.
int64_t CombineSum::vectorLength() {
  int64_t bytes = elementBytes();
  if (isOneRound)
    bytes = std::max(bytes, bytesOf(terms.to));
  if (isOneRound && isa<FloatType>(element))
    bytes = std::max<int64_t>(bytes, 2);
  return getVectorLength(rowLength * bytes, bytes);
}

Value CombineSum::prepare() {
  numTokens = b.checkedTokens(op.getSendRow(), op.getTokenBound(),
                              op.getSendRow().getType().isDynamicDim(0));
  checkArguments(b);
  Value rows = b.withAlignedRows(op.getOut());
  out = rows;
  if (op.returnsRows()) {
    numTokens = b.mul(numTokens, b.index(op.getNumSlots()));
    out = memref::CollapseShapeOp::create(
        b, rows, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
  }
  return rows;
}

void CombineSum::reduce() {
  if (movesInBulk())
    reduceTokensInBulk();
  else
    reduceTokens();
}

/// Row and rank (expert_major: expert) of a slot of `token`; row is -1 without
/// one, and where `isSlot` is false.
std::pair<Value, Value> CombineSum::lookUp(Value token, Value slot,
                                           Value isSlot) {
  Value none = b.index(-1), zero = b.index(0);
  auto look = scf::IfOp::create(
      b, TypeRange{b.getIndexType(), b.getIndexType()}, isSlot,
      /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  if (op.returnsRows()) {
    Value slots = b.index(op.getNumSlots());
    slot = arith::RemUIOp::create(b, token, slots);
    token = arith::DivUIOp::create(b, token, slots);
  }
  Value row = b.loadIndex(op.getSendRow(), {token, slot});
  Value owner = slot;
  if (op.isExpertMajor())
    owner = b.loadIndex(op.getTopk(), {token, slot});
  row = b.checkedSendRow(row, capacity, token, slot);
  if (op.isExpertMajor()) {
    Value isExpert = b.cmp(Pred::ult, owner, b.index(placement.numExperts));
    row = b.select(isExpert, row, none);
  }
  row = placeOf(row, owner);
  scf::YieldOp::create(b, ValueRange{row, owner});
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, ValueRange{none, zero});
  return {look.getResult(0), look.getResult(1)};
}

/// Sorts the rows of `token` into lanes. A vote shows every lane which lanes
/// have a row.
CombineSum::RowList CombineSum::listRows(Value token, Value end) {
  Value none = b.index(-1), zero = b.index(0);
  RowList list{zero, none, zero, {}};
  for (int64_t base = 0; base < numSlots(); base += kSubgroupSize) {
    int64_t lanes = std::min<int64_t>(kSubgroupSize, numSlots() - base);
    Value slot = b.add(b.index(base), b.lane());
    auto [row, owner] =
        lookUp(token, slot,
               b.both(b.cmp(Pred::ult, b.lane(), b.index(lanes)),
                      b.cmp(Pred::ult, token, end)));
    Value isRow = b.cmp(Pred::sge, row, zero);
    Value mask = b.ballot(isRow);
    if (op.isExpertMajor())
      moveByExpert(list, row, owner, isRow, lanes);
    else
      moveInOrder(list, row, owner, mask, lanes);
    list.count = b.add(list.count, b.countBits(mask));
  }
  if (numSlots() > kMaxTopK) {
    Value fits = b.cmp(Pred::ule, list.count, b.index(kMaxTopK));
    b.check(fits, symm::Failure::invalid_count, "number of rows",
            {b.index(kMaxTopK), list.count, Value(), Value(), token});
    b.noteError(fits);
  }
  return list;
}

/// To the lane that is as far behind the list as bits of `mask` are below a
/// row's: each lane takes as many bits off as it is behind the list, and finds
/// its own.
void CombineSum::moveInOrder(RowList &list, Value row, Value owner, Value mask,
                             int64_t lanes) {
  Value behind = b.fromIndex(b.sub(b.lane(), list.count), b.getI32Type());
  Value bits = mask;
  for (int64_t i = 0; i + 1 < lanes; ++i) {
    Value others = arith::AndIOp::create(b, bits, b.sub(bits, b.i32(1)));
    bits = b.select(b.cmp(Pred::sgt, behind, b.i32(i)), others, bits);
  }
  Value from = b.lowestBit(bits);
  Value movedRow = b.shuffle(row, from), movedPeer = b.shuffle(owner, from);
  // Negative ones are large.
  Value isMine =
      b.cmp(Pred::ult, behind, b.fromIndex(b.countBits(mask), b.getI32Type()));
  list.row = b.select(isMine, movedRow, list.row);
  list.peer = b.select(isMine, movedPeer, list.peer);
}

/// The number of smaller experts that have a row is a row's place. A token has
/// no more slots than a subgroup has lanes.
void CombineSum::moveByExpert(RowList &list, Value row, Value owner,
                              Value isRow, int64_t lanes) {
  Value last = b.i32(std::numeric_limits<int32_t>::max());
  Value key = b.select(isRow, b.fromIndex(owner, b.getI32Type()), last);
  Value place = b.i32(0);
  for (int64_t other = 0; other < lanes; ++other) {
    Value isLess = b.cmp(Pred::slt, b.shuffle(key, b.index(other)), key);
    place = b.select(isLess, b.add(place, b.i32(1)), place);
  }
  Value found = b.i32(0);
  for (int64_t i = 0; i < lanes; ++i) {
    Value isThere = b.both(isRow, b.cmp(Pred::eq, place, b.i32(i)));
    Value isMine = b.cmp(Pred::eq, b.lane(), b.index(i));
    found = b.select(isMine, b.ballot(isThere), found);
  }
  Value from = b.lowestBit(found), isMine = b.cmp(Pred::ne, found, b.i32(0));
  owner = b.owner(b.select(isRow, owner, b.index(0)), placement);
  list.row = b.select(isMine, b.shuffle(row, from), list.row);
  list.peer = b.select(isMine, b.shuffle(owner, from), list.peer);
}

Value CombineSum::loadWeight(Value row, Value peer) {
  if (!terms.haveWeights)
    return Value();
  return loadWeight(row, [&] { return weightsOf(peer); });
}

Value CombineSum::loadWeight(Value row, llvm::function_ref<Value()> weights) {
  Value isRow = b.cmp(Pred::sge, row, b.index(0));
  auto look = scf::IfOp::create(b, TypeRange{b.getF32Type()}, isRow,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  scf::YieldOp::create(b, b.load(weights(), {row}));
  b.setInsertionPointToStart(look.elseBlock());
  scf::YieldOp::create(b, Value(arith::ConstantFloatOp::create(
                              b, b.getF32Type(), APFloat(0.0f))));
  return look.getResult(0);
}
