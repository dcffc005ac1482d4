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

#include "../MoEProtocols/SerialCombine.h"
#include "Lowerings.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

class CombineLowering : public SerialCombine {
public:
  using SerialCombine::SerialCombine;

  void lower();

private:
  bool isPush() { return op.getAlgorithm() == Algorithm::push; }

  void putSlots();
  Row rowAt(Value token, Value i) override;

  Value data, weights; ///< symmetric: `y` and `weights`, or the slots
};

} // namespace

void moe::lowerCombine(CombineOp op, ProtocolBuilder &b) {
  if (op.isExpertMajor() && op.getAlgorithm() == Algorithm::push)
    return lowerCombineOfPartials(op, b);
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

CombineLowering::Row CombineLowering::rowAt(Value token, Value i) {
  ListedRow entry = listed(i);
  Row row;
  row.row = entry.row;
  row.data = data;
  Value weightsThere = weights;
  if (isPush()) {
    row.row = b.add(b.mul(token, b.index(b.numRanks())), entry.peer);
  } else {
    row.data = symm::PeerOp::create(b, data, entry.peer);
    if (weights)
      weightsThere = symm::PeerOp::create(b, weights, entry.peer);
  }
  if (weights)
    row.weight = b.load(weightsThere, {row.row});
  return row;
}
