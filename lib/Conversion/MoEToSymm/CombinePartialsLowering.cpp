//===- CombinePartialsLowering.cpp - push sums of ranks, on a CPU ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A combine by expert that pushes. Rows do not say whose they are, so the rank
/// of a token asks each other one for the rows to add, in the order in which to
/// add them. That one puts their sum into a slot of the token.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/SerialCombine.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

namespace {

class CombinePartialsLowering : public SerialCombine {
public:
  using SerialCombine::SerialCombine;

  void lower();

private:
  Row rowAt(Value token, Value i) override;

  /// Whether a token's only row has to keep its bits in a longer element.
  bool keepsRow() { return !op.getWeights() && sumElement() != element; }
  /// The row of `asked` at rank `holder` that is about a token of `owner`.
  Value askedRow(Value owner, Value token);
  Value slotOf(Value token, Value holder);
  void ask();
  void putSums();
  /// Of the rows that row `which` of `asked` names.
  void putSum(Value owner, Value token, Value which, Value first);
  void reduceSums();
  /// Adds the slots of the ranks of the listed rows.
  void addSums(Value token, Value numRows);
  /// An element in the bits of a partial sum, and back.
  Value widen(Value value);
  Value narrow(Value value);

  Value y;
  Value asked; ///< T_max * R tokens by the rows of each here
  Value slots; ///< sums of ranks
};

} // namespace

void moe::lowerCombineOfPartials(CombineOp op, ProtocolBuilder &b) {
  CombinePartialsLowering(op, b).lower();
}

void CombinePartialsLowering::lower() {
  int64_t tokens = static_cast<int64_t>(op.getTokenBound()) * b.numRanks();
  // Slots and questions may be written.
  b.phase("ready");
  numTokens = b.checkedTokens(op.getSendRow(), op.getTokenBound(),
                              op.getSendRow().getType().isDynamicDim(0));
  checkArguments(b);
  b.barrier();
  allocate();
  b.phase("ask");
  asked = b.symmetric({tokens, rowsPerRank()}, b.getI32Type());
  slots = b.symmetric({tokens, rowLength}, sumElement());
  y = b.withContiguousRows(op.getY());
  ask();
  b.barrier();
  b.phase("put");
  putSums();
  b.phase("complete");
  b.barrier();
  b.phase("reduce");
  reduceSums();
}

SerialCombine::Row CombinePartialsLowering::rowAt(Value, Value i) {
  return {y, i, op.getWeights() ? b.load(op.getWeights(), {i}) : Value()};
}

Value CombinePartialsLowering::askedRow(Value owner, Value token) {
  return b.add(b.mul(owner, b.index(op.getTokenBound())), token);
}

Value CombinePartialsLowering::slotOf(Value token, Value holder) {
  return b.add(b.mul(token, b.index(b.numRanks())), holder);
}

void CombinePartialsLowering::ask() {
  Value zero = b.index(0), one = b.index(1), none = b.index(-1);
  b.forEachPeer([&](Value peer) {
    Value there = symm::PeerOp::create(b, asked, peer);
    b.loop(op.getTokenBound(), [&](Value token) {
      b.loop(rowsPerRank(), [&](Value place) {
        b.storeIndex(none, there, {askedRow(b.me(), token), place});
      });
    });
  });
  b.loop(numTokens, [&](Value token) {
    Value numRows = listRowsByExpert(token);
    Value isOnly = b.cmp(Pred::eq, numRows, one);
    b.reduce(zero, numRows, {none, none},
             [&](Value i, ValueRange last) -> SmallVector<Value> {
               ListedRow entry = listed(i);
               Value isSame = b.cmp(Pred::eq, entry.peer, last[0]);
               Value place = b.select(isSame, b.add(last[1], one), zero);
               Value row = entry.row;
               if (keepsRow())
                 row = b.select(isOnly, b.sub(b.index(kOnlyRow), row), row);
               b.storeIndex(row, symm::PeerOp::create(b, asked, entry.peer),
                            {askedRow(b.me(), token), place});
               return {entry.peer, place};
             });
  });
}

void CombinePartialsLowering::putSums() {
  b.forEachPeer([&](Value owner) {
    b.loop(op.getTokenBound(), [&](Value token) {
      Value which = askedRow(owner, token);
      Value first = b.loadIndex(asked, {which, b.index(0)});
      b.ifThen(b.cmp(Pred::ne, first, b.index(-1)),
               [&] { putSum(owner, token, which, first); });
    });
  });
}

void CombinePartialsLowering::putSum(Value owner, Value token, Value which,
                                     Value first) {
  Value isOnly = b.cmp(Pred::slt, first, b.index(-1));
  Value row = b.select(isOnly, b.sub(b.index(kOnlyRow), first), first);
  auto addAll = [&] {
    Row start = rowAt(token, row);
    b.loop(rowLength, [&](Value column) {
      b.store(loadTerm(start, column), sum, {column});
    });
    b.loop(b.index(1), b.index(rowsPerRank()), [&](Value place) {
      Value next = b.loadIndex(asked, {which, place});
      b.ifThen(b.cmp(Pred::sge, next, b.index(0)), [&] {
        Row row = rowAt(token, next);
        b.loop(rowLength, [&](Value column) {
          Value term = loadTerm(row, column);
          Value before = b.load(sum, {column});
          b.store(addTerms(before, term), sum, {column});
        });
      });
    });
  };
  Value there = symm::PeerOp::create(b, slots, owner);
  Value slot = slotOf(token, b.me());
  auto putAll = [&] {
    addAll();
    b.loop(rowLength, [&](Value column) {
      b.store(roundPartial(b.load(sum, {column})), there, {slot, column});
    });
  };
  if (!keepsRow())
    return putAll();
  auto branch = scf::IfOp::create(b, isOnly, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  b.loop(rowLength, [&](Value column) {
    b.store(widen(b.load(y, {row, column})), there, {slot, column});
  });
  b.setInsertionPointToStart(branch.elseBlock());
  putAll();
}

void CombinePartialsLowering::reduceSums() {
  b.loop(numTokens, [&](Value token) {
    Value numRows = listRowsByExpert(token);
    auto branch = scf::IfOp::create(b, b.cmp(Pred::eq, numRows, b.index(0)),
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    storeZeros(token);
    b.setInsertionPointToStart(branch.elseBlock());
    addSums(token, numRows);
    if (!keepsRow()) {
      b.loop(rowLength, [&](Value column) {
        storeSum(b.load(sum, {column}), token, column);
      });
      return;
    }
    // combine_s4
    auto only = scf::IfOp::create(b, b.cmp(Pred::eq, numRows, b.index(1)),
                                  /*withElseRegion=*/true);
    b.setInsertionPointToStart(only.thenBlock());
    b.loop(rowLength, [&](Value column) {
      storeOut(narrow(b.load(sum, {column})), token, column);
    });
    b.setInsertionPointToStart(only.elseBlock());
    b.loop(rowLength, [&](Value column) {
      storeSum(b.load(sum, {column}), token, column);
    });
  });
}

void CombinePartialsLowering::addSums(Value token, Value numRows) {
  Value first = listed(b.index(0)).peer;
  b.loop(rowLength, [&](Value column) {
    b.store(b.load(slots, {slotOf(token, first), column}), sum, {column});
  });
  b.reduce(b.index(1), numRows, first,
           [&](Value i, ValueRange last) -> SmallVector<Value> {
             Value peer = listed(i).peer;
             b.ifThen(b.cmp(Pred::ne, peer, last[0]), [&] {
               b.loop(rowLength, [&](Value column) {
                 Value term = b.load(slots, {slotOf(token, peer), column});
                 Value before = b.load(sum, {column});
                 b.store(addTerms(before, term), sum, {column});
               });
             });
             return {peer};
           });
}

Value CombinePartialsLowering::widen(Value value) {
  Type bits = b.getIntegerType(element.getIntOrFloatBitWidth());
  value = arith::BitcastOp::create(b, bits, value);
  value = arith::ExtUIOp::create(b, b.getI32Type(), value);
  return arith::BitcastOp::create(b, b.getF32Type(), value);
}

Value CombinePartialsLowering::narrow(Value value) {
  Type bits = b.getIntegerType(element.getIntOrFloatBitWidth());
  value = arith::BitcastOp::create(b, b.getI32Type(), value);
  value = arith::TruncIOp::create(b, bits, value);
  return arith::BitcastOp::create(b, element, value);
}
