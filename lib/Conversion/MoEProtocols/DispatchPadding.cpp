//===- DispatchPadding.cpp - rows that no token is sent to ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchPadding.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

DispatchPadding::DispatchPadding(DispatchOp op, ProtocolBuilder &b)
    : op(op), b(b), capacity(op.getNumRows(b.numRanks())) {}

SmallVector<DispatchPadding::Field> DispatchPadding::getFields() {
  SmallVector<Field> fields;
  for (Output kind : {Output::RecvX, Output::RecvScales, Output::RecvTopkIdx,
                      Output::RecvTopkWeights, Output::RecvSrcIdx}) {
    Value buffer = op.getOutput(kind);
    if (!buffer)
      continue;
    Type element = cast<MemRefType>(buffer.getType()).getElementType();
    bool isNumber = kind == Output::RecvTopkIdx || kind == Output::RecvSrcIdx;
    TypedAttr value = isNumber ? TypedAttr(b.getIntegerAttr(element, -1))
                               : cast<TypedAttr>(b.getZeroAttr(element));
    bool isPut = kind == Output::RecvX || kind == Output::RecvScales;
    fields.push_back({buffer, value, isPut});
  }
  return fields;
}

//===----------------------------------------------------------------------===//
// Which rows are empty
//===----------------------------------------------------------------------===//

/// Rows of the run before are those of other routes: the number says of which
/// run a row is, and so needs no reset. Signals publish it with the row.
void DispatchPadding::allocateRuns() {
  runs = b.persistent({capacity}, b.getI64Type());
}

void DispatchPadding::noteRow(Value peer, Value row, Value epoch) {
  b.store(epoch, symm::PeerOp::create(b, runs, peer), {row});
}

Value DispatchPadding::isEmpty(Value row, Value epoch) {
  return b.cmp(Pred::ne, b.load(runs, {row}), epoch);
}

/// Of what does not fit, the counts tell as well (dispatch_s9).
std::pair<Value, Value> DispatchPadding::inBuffers(Value begin, Value end) {
  return {arith::MaxSIOp::create(b, begin, b.index(0)),
          arith::MinSIOp::create(b, end, b.index(capacity))};
}

//===----------------------------------------------------------------------===//
// One thread
//===----------------------------------------------------------------------===//

void DispatchPadding::fillByCounts() {
  b.phase("pad");
  Value zero = b.index(0), all = b.index(capacity);
  Value fromRank = op.getOutput(Output::TokensFromRank);
  if (op.getLayout() == Layout::slab) {
    b.loop(b.numRanks(), [&](Value sender) {
      Value slab = b.mul(sender, b.index(op.getTokenBound()));
      Value rows = b.loadIndex(fromRank, {sender});
      fillRows(b.add(slab, rows), b.add(slab, b.index(op.getTokenBound())));
    });
    return;
  }
  Value end;
  if (op.isExpertMajor()) {
    // Before each group. Those of experts that only larger ranks have are empty
    // and lie where the next group would.
    Value offsets = op.getOutput(Output::ExpertOffsets);
    int64_t groups = cast<MemRefType>(offsets.getType()).getDimSize(0);
    end = b.reduce(zero, b.index(groups), zero,
                   [&](Value local, ValueRange carried) -> SmallVector<Value> {
                     Value group = b.loadIndex(offsets, {local});
                     fillRows(carried[0], group);
                     Value rows = b.loadIndex(
                         op.getOutput(Output::ExpertCounts), {local});
                     return {b.add(group, rows)};
                   })[0];
  } else {
    end = b.reduce(zero, b.index(b.numRanks()), zero,
                   [&](Value sender, ValueRange sum) -> SmallVector<Value> {
                     return {b.add(sum[0], b.loadIndex(fromRank, {sender}))};
                   })[0];
  }
  fillRows(end, all);
}

void DispatchPadding::fillByRuns(Value epoch) {
  b.phase("pad");
  b.loop(capacity, [&](Value row) {
    b.ifThen(isEmpty(row, epoch), [&] { fillRow(row); });
  });
}

void DispatchPadding::fillRows(Value begin, Value end) {
  auto [first, last] = inBuffers(begin, end);
  b.loop(first, last, [&](Value row) { fillRow(row); });
}

void DispatchPadding::fillRow(Value row) {
  for (auto [buffer, element, isPut] : getFields()) {
    auto type = cast<MemRefType>(buffer.getType());
    Value value = arith::ConstantOp::create(b, element);
    if (type.getRank() == 1)
      b.store(value, buffer, {row});
    else
      b.loop(type.getDimSize(1), [&, buffer = buffer](Value column) {
        b.store(value, buffer, {row, column});
      });
  }
}
