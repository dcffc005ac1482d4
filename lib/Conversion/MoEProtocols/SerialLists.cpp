//===- SerialLists.cpp - rows of each expert, listed by one thread --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SerialDispatch.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

void SerialDispatch::forEachReceived(llvm::function_ref<void(Value)> body) {
  Value zero = b.index(0), fromRank = op.getOutput(Output::TokensFromRank);
  if (isSlab())
    return b.loop(b.numRanks(), [&](Value sender) {
      Value slab = b.mul(sender, b.index(op.getTokenBound()));
      b.loop(slab, b.add(slab, b.loadIndex(fromRank, {sender})), body);
    });
  Value rows =
      b.reduce(zero, b.index(b.numRanks()), zero,
               [&](Value sender, ValueRange sum) -> SmallVector<Value> {
                 return {b.add(sum[0], b.loadIndex(fromRank, {sender}))};
               })[0];
  // Rows past the capacity were dropped (dispatch_s9).
  b.loop(zero, arith::MinSIOp::create(b, rows, b.index(capacity)), body);
}

/// Counts the rows of each expert, and then gives every row the next place in
/// the group of its expert.
void SerialDispatch::listRows() {
  b.phase("list");
  Value offsets = op.getOutput(Output::ExpertOffsets);
  Value rowCounts = op.getOutput(Output::ExpertCounts);
  Value listRows = op.getOutput(Output::ListRows);
  Value listWeights = op.getOutput(Output::ListWeights);
  Value zero = b.index(0);
  b.fill(rowCounts, 0);
  b.fill(listRows, -1);
  Value none = arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  linalg::FillOp::create(b, none, listWeights);

  Value first = b.firstExpert(b.me(), placement);
  auto forEachEntry =
      [&](llvm::function_ref<void(Value row, Value slot, Value local)> body) {
        forEachReceived([&](Value row) {
          b.loop(topK, [&](Value slot) {
            Value expert =
                b.loadIndex(op.getOutput(Output::RecvTopkIdx), {row, slot});
            // Those of other ranks are -1 (dispatch_s2).
            b.ifThen(b.cmp(Pred::sge, expert, zero),
                     [&] { body(row, slot, b.sub(expert, first)); });
          });
        });
      };
  auto take = [&](Value numbers, Value local) -> Value {
    Value number = b.load(numbers, {local});
    b.store(b.add(number, b.i32(1)), numbers, {local});
    return b.toIndex(number);
  };
  forEachEntry([&](Value, Value, Value local) { take(rowCounts, local); });
  Value next = b.scratch({placement.maxPerRank()}, b.getI32Type());
  b.reduce(zero, b.index(placement.maxPerRank()), zero,
           [&](Value local, ValueRange end) -> SmallVector<Value> {
             Value group = b.alignUp(end[0], *op.getListAlignment());
             b.storeIndex(group, offsets, {local});
             b.storeIndex(group, next, {local});
             return {b.add(group, b.loadIndex(rowCounts, {local}))};
           });
  forEachEntry([&](Value row, Value slot, Value local) {
    Value place = take(next, local);
    b.storeIndex(row, listRows, {place});
    b.store(b.load(op.getOutput(Output::RecvTopkWeights), {row, slot}),
            listWeights, {place});
  });
}
