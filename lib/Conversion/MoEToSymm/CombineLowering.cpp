//===- CombineLowering.cpp - lower moe.combine ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// The protocol of a combine. Both algorithms end in the same reduction: for
/// each token, list its rows in the order of combine_s1, then add them. They
/// differ in where a row lies by then: on the rank that holds it (pull), or in
/// a slot of this rank that the other one has put it into (push).
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/CombineProtocol.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

class CombineLowering : public CombineProtocol {
public:
  CombineLowering(CombineOp op, ProtocolBuilder &b)
      : CombineProtocol(op, b), b(b) {}

  void lower();

private:
  bool isPush() { return op.getAlgorithm() == Algorithm::push; }

  void putSlots();
  void reduceTokens();
  /// Stores what the listed rows of `token` make to `place` of `out`.
  void reduceListed(Value token, Value numRows, ValueRange place);
  Value listRows(Value token);
  Value listRowsByExpert(Value token);
  Value listRowOfSlot(Value token, Value slot);
  void addRows(Value token, Value numRows, ValueRange place);
  void copyRow(Value token, ValueRange place);
  void storeOut(Value value, ValueRange place, Value column);

  /// Where the `i`-th row on the list lies.
  struct Row {
    Value data;   ///< the buffer that holds it
    Value row;    ///< its number there
    Value weight; ///< null without weights
  };
  Row rowAt(Value token, Value i);
  Value loadTerm(const Row &row, Value column);
  /// An entry of `send_row`, checked.
  Value checkedRow(Value token, Value slot);

  ProtocolBuilder &b;
  Value data, weights;     ///< symmetric: `y` and `weights`, or the slots
  Value listPeer, listRow; ///< rows of the current token
  Value sum;               ///< H values
};

} // namespace

void moe::lowerCombine(CombineOp op, ProtocolBuilder &b) {
  CombineLowering(op, b).lower();
}

void CombineLowering::lower() {
  // pull: rows may be read. push: slots may be written.
  b.phase("ready");
  numTokens = b.checkedTokens(op.getSendRow(), op.getTokenBound(),
                              op.getSendRow().getType().isDynamicDim(0));
  checkArguments(b);
  b.barrier();
  if (isPush()) {
    b.phase("put");
    putSlots();
    b.phase("complete");
    b.barrier();
    b.phase("reduce");
    reduceTokens();
    return;
  }
  data = op.getY();
  weights = op.getWeights();
  b.phase("reduce");
  reduceTokens();
  if (op.getDeferRelease()) // combine_s6
    return;
  b.phase("release");
  b.barrier();
}

/// push: puts every row this rank holds into the slot of its token, one slot
/// per (token, rank).
void CombineLowering::putSlots() {
  using Pred = ProtocolBuilder::Pred;
  int64_t bound = op.getTokenBound();
  data = b.symmetric({bound * b.numRanks(), rowLength}, element);
  if (op.getWeights())
    weights = b.symmetric({bound * b.numRanks()}, b.getF32Type());
  Value y = b.withContiguousRows(op.getY());
  Value limit = b.index(capacity);
  Value boundValue = b.index(bound);

  b.reduce(
      b.index(0), b.index(b.numRanks()), b.index(0),
      [&](Value sender, ValueRange carried) -> SmallVector<Value> {
        Value rows = b.loadIndex(op.getNTokensFromRank(), {sender});
        b.check(b.both(b.cmp(Pred::sge, rows, b.index(0)),
                       b.cmp(Pred::sle, rows, boundValue)),
                symm::Failure::invalid_count, "n_tokens_from_rank",
                {boundValue, rows, sender, b.index(0)});
        Value first = op.getLayout() == Layout::slab ? b.mul(sender, boundValue)
                                                     : carried[0];
        Value end = b.add(first, rows);
        // Rows past the capacity were dropped.
        Value kept = arith::MinSIOp::create(b, end, limit);
        b.loop(first, kept, [&](Value row) {
          Value source = b.loadIndex(op.getRecvSrcIdx(), {row});
          Value token = b.sub(source, b.mul(sender, boundValue));
          b.check(
              b.cmp(Pred::ult, token, boundValue), symm::Failure::invalid_count,
              "recv_src_idx",
              {b.sub(b.mul(b.add(sender, b.index(1)), boundValue), b.index(1)),
               source, sender, b.mul(sender, boundValue)});
          Value slot = b.add(b.mul(token, b.index(b.numRanks())), b.me());
          symm::PutOp::create(b, y, row, data, slot, sender, /*count=*/Value());
          if (weights)
            b.store(b.load(op.getWeights(), {row}),
                    symm::PeerOp::create(b, weights, sender), {slot});
        });
        return {end};
      });
}

void CombineLowering::reduceTokens() {
  int64_t numSlots = op.getNumSlots();
  listPeer = b.scratch({numSlots}, b.getI32Type());
  listRow = b.scratch({numSlots}, b.getI32Type());
  sum = b.scratch({rowLength}, sumElement());

  b.loop(numTokens, [&](Value token) {
    if (op.returnsRows()) // combine_s7
      return b.loop(numSlots, [&](Value slot) {
        reduceListed(token, listRowOfSlot(token, slot), {token, slot});
      });
    Value numRows =
        op.isExpertMajor() ? listRowsByExpert(token) : listRows(token);
    reduceListed(token, numRows, token);
  });
}

void CombineLowering::reduceListed(Value token, Value numRows,
                                   ValueRange place) {
  using Pred = ProtocolBuilder::Pred;
  if (op.getWeights())
    return addRows(token, numRows, place);
  // combine_s4
  Value isSingle = b.cmp(Pred::eq, numRows, b.index(1));
  auto branch = scf::IfOp::create(b, isSingle, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  copyRow(token, place);
  b.setInsertionPointToStart(branch.elseBlock());
  addRows(token, numRows, place);
}

/// combine_s5
Value CombineLowering::checkedRow(Value token, Value slot) {
  using Pred = ProtocolBuilder::Pred;
  Value row = b.loadIndex(op.getSendRow(), {token, slot});
  b.check(b.both(b.cmp(Pred::sge, row, b.index(-1)),
                 b.cmp(Pred::slt, row, b.index(capacity))),
          symm::Failure::invalid_count, "send_row",
          {b.index(capacity - 1), row, Value(), b.index(-1), token, slot});
  return row;
}

/// Lists the rows of `token` by ascending rank; returns their number.
Value CombineLowering::listRows(Value token) {
  using Pred = ProtocolBuilder::Pred;
  Value count =
      b.reduce(b.index(0), b.index(b.numRanks()), b.index(0),
               [&](Value peer, ValueRange carried) -> SmallVector<Value> {
                 Value row = checkedRow(token, peer);
                 Value isRow = b.cmp(Pred::sge, row, b.index(0));
                 b.ifThen(isRow, [&] {
                   b.storeIndex(peer, listPeer, {carried[0]});
                   b.storeIndex(row, listRow, {carried[0]});
                 });
                 Value next = b.add(carried[0], b.index(1));
                 return {b.select(isRow, next, carried[0])};
               })[0];
  if (b.numRanks() > kMaxTopK)
    b.check(b.cmp(Pred::ule, count, b.index(kMaxTopK)),
            symm::Failure::invalid_count, "number of rows",
            {b.index(kMaxTopK), count, Value(), Value(), token});
  return count;
}

/// Lists the rows of `token` by ascending expert, which is ascending rank too;
/// returns their number. Selection: each step takes the smallest expert above
/// the last one taken.
Value CombineLowering::listRowsByExpert(Value token) {
  using Pred = ProtocolBuilder::Pred;
  int64_t topK = cast<MemRefType>(op.getSendRow().getType()).getDimSize(1);
  Value numExperts = b.index(placement.numExperts);

  SmallVector<Value> result =
      b.reduce(b.index(0), b.index(topK), {b.index(-1), b.index(0)},
               [&](Value, ValueRange carried) -> SmallVector<Value> {
                 Value last = carried[0], count = carried[1];
                 SmallVector<Value> best = b.reduce(
                     b.index(0), b.index(topK), {numExperts, b.index(-1)},
                     [&](Value k, ValueRange best) -> SmallVector<Value> {
                       Value row = checkedRow(token, k);
                       Value expert = b.loadIndex(op.getTopk(), {token, k});
                       Value isRow = b.cmp(Pred::sge, row, b.index(0));
                       Value isBetter =
                           b.both(b.both(isRow, b.cmp(Pred::sgt, expert, last)),
                                  b.cmp(Pred::slt, expert, best[0]));
                       return {b.select(isBetter, expert, best[0]),
                               b.select(isBetter, row, best[1])};
                     });
                 Value found = b.cmp(Pred::slt, best[0], numExperts);
                 b.ifThen(found, [&] {
                   b.storeIndex(b.owner(best[0], placement), listPeer, {count});
                   b.storeIndex(best[1], listRow, {count});
                 });
                 return {b.select(found, best[0], last),
                         b.select(found, b.add(count, b.index(1)), count)};
               });
  return result[1];
}

/// Lists the row of a slot; returns 1, or 0 when the slot has none.
Value CombineLowering::listRowOfSlot(Value token, Value slot) {
  using Pred = ProtocolBuilder::Pred;
  Value zero = b.index(0), peer = slot;
  Value row = checkedRow(token, slot);
  Value isRow = b.cmp(Pred::sge, row, zero);
  if (op.isExpertMajor()) {
    Value expert = b.loadIndex(op.getTopk(), {token, slot});
    isRow =
        b.both(isRow, b.cmp(Pred::ult, expert, b.index(placement.numExperts)));
    peer = b.owner(b.select(isRow, expert, zero), placement);
  }
  b.ifThen(isRow, [&] {
    b.storeIndex(peer, listPeer, {zero});
    b.storeIndex(row, listRow, {zero});
  });
  return b.select(isRow, b.index(1), zero);
}

CombineLowering::Row CombineLowering::rowAt(Value token, Value i) {
  Value peer = b.loadIndex(listPeer, {i});
  Row row;
  row.row = b.loadIndex(listRow, {i});
  row.data = data;
  Value weightsThere = weights;
  if (isPush()) {
    row.row = b.add(b.mul(token, b.index(b.numRanks())), peer);
  } else {
    row.data = symm::PeerOp::create(b, data, peer);
    if (weights)
      weightsThere = symm::PeerOp::create(b, weights, peer);
  }
  if (weights)
    row.weight = b.load(weightsThere, {row.row});
  return row;
}

/// One value of a row as it enters the sum.
Value CombineLowering::loadTerm(const Row &row, Value column) {
  Value value = b.load(row.data, {row.row, column});
  if (isa<FloatType>(element) && !element.isF32())
    value = arith::ExtFOp::create(b, b.getF32Type(), value);
  if (row.weight)
    value = arith::MulFOp::create(b, value, row.weight);
  return value;
}

void CombineLowering::storeOut(Value value, ValueRange place, Value column) {
  SmallVector<Value> indices = llvm::to_vector(place);
  indices.push_back(column);
  b.store(value, op.getOut(), indices);
}

/// The bits of the only row.
void CombineLowering::copyRow(Value token, ValueRange place) {
  Row row = rowAt(token, b.index(0));
  b.loop(rowLength, [&](Value column) {
    storeOut(b.load(row.data, {row.row, column}), place, column);
  });
}

/// The sum of the listed rows, rounded once; zeros when there is none.
void CombineLowering::addRows(Value token, Value numRows, ValueRange place) {
  using Pred = ProtocolBuilder::Pred;
  bool isFloat = isa<FloatType>(element);
  Value zero =
      arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(element)));
  auto branch = scf::IfOp::create(b, b.cmp(Pred::eq, numRows, b.index(0)),
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  b.loop(rowLength, [&](Value column) { storeOut(zero, place, column); });

  b.setInsertionPointToStart(branch.elseBlock());
  Row first = rowAt(token, b.index(0));
  b.loop(rowLength, [&](Value column) {
    b.store(loadTerm(first, column), sum, {column});
  });
  b.loop(b.index(1), numRows, [&](Value i) {
    Row row = rowAt(token, i);
    b.loop(rowLength, [&](Value column) {
      Value term = loadTerm(row, column);
      Value before = b.load(sum, {column});
      b.store(isFloat ? Value(arith::AddFOp::create(b, before, term))
                      : b.add(before, term),
              sum, {column});
    });
  });
  b.loop(rowLength, [&](Value column) {
    Value value = b.load(sum, {column});
    if (isFloat && !element.isF32())
      value = arith::TruncFOp::create(b, element, value);
    storeOut(value, place, column);
  });
}
