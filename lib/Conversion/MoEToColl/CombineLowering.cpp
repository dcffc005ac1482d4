//===- CombineLowering.cpp - lower moe.combine to messages ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A combine sends the blocks of a dispatch back. Each rank tells the others
/// which of their rows it needs, gets these in one exchange, and adds them up
/// as it does where it reads them.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/SerialCombine.h"
#include "Blocks.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

namespace {

class CombineLowering : public SerialCombine {
public:
  CombineLowering(CombineOp op, CollBuilder &messages)
      : SerialCombine(op, messages), messages(messages),
        mine(messages, numParts()) {}

  void lower();

private:
  int64_t numParts() { return op.isExpertMajor() ? placement.maxPerRank() : 1; }
  Value partOf(Value peer, Value key);

  void findBlocks();
  void fetch(Blocks &theirs);
  Row rowAt(Value token, Value i) override;
  Value sendRowAt(Value token, Value slot) override;

  CollBuilder &messages;
  Blocks mine; ///< rows of this rank's tokens on all ranks
  Blocks::Box inbox;
  Value data, weights; ///< what came
};

} // namespace

void moe::lowerCombineToColl(CombineOp op, CollBuilder &b) {
  CombineLowering(op, b).lower();
}

void CombineLowering::lower() {
  b.phase("ready");
  numTokens = b.checkedTokens(op.getSendRow(), op.getTokenBound(),
                              op.getSendRow().getType().isDynamicDim(0));
  checkArguments(b);
  findBlocks();
  b.phase("exchange");
  Blocks theirs = mine.exchange(capacity);
  fetch(theirs);
  b.phase("reduce");
  reduceTokens();
}

Value CombineLowering::partOf(Value peer, Value key) {
  return op.isExpertMajor() ? b.sub(key, b.firstExpert(peer, placement))
                            : b.index(0);
}

void CombineLowering::findBlocks() {
  b.loop(numTokens, [&](Value token) {
    b.loop(op.getNumSlots(), [&](Value slot) {
      Value row = checkedRow(token, slot);
      Value key = slot;
      Value isRow = b.cmp(Pred::sge, row, b.index(0));
      if (op.isExpertMajor()) {
        key = b.loadIndex(op.getTopk(), {token, slot});
        isRow =
            b.both(isRow, b.cmp(Pred::ult, key, b.index(placement.numExperts)));
      }
      b.ifThen(isRow, [&] {
        Value peer = op.isExpertMajor() ? b.owner(key, placement) : key;
        mine.cover(peer, partOf(peer, key), row);
      });
    });
  });
  mine.endCover();
}

/// Rows of a rank that lie together are sent from where they are.
void CombineLowering::fetch(Blocks &theirs) {
  SmallVector<Value> buffers = {b.withContiguousRows(op.getY())};
  if (op.getWeights())
    buffers.push_back(b.withContiguousRows(op.getWeights()));
  CollBuilder::Table from;
  if (op.isExpertMajor() || messages.pairRows()) {
    b.phase("pack");
    Blocks::Box outbox = theirs.box(/*mayBeTooMany=*/true);
    from = outbox.table;
    for (Value &buffer : buffers) {
      Value packed = messages.rowsLike(buffer, outbox.numRows);
      theirs.pack(outbox, buffer, packed);
      buffer = packed;
    }
  } else {
    from = theirs.inPlace();
  }
  b.phase("move");
  inbox = mine.box(/*mayBeTooMany=*/true);
  SmallVector<CollBuilder::Rows> rows;
  for (Value buffer : buffers)
    rows.push_back(
        {buffer, from, messages.rowsLike(buffer, inbox.numRows), inbox.table});
  messages.exchange(rows);
  data = rows.front().recv;
  if (op.getWeights())
    weights = rows.back().recv;
}

/// Checked when the blocks were found.
Value CombineLowering::sendRowAt(Value token, Value slot) {
  return b.loadIndex(op.getSendRow(), {token, slot});
}

CombineLowering::Row CombineLowering::rowAt(Value token, Value i) {
  ListedRow entry = listed(i);
  Row row;
  row.data = data;
  row.row = mine.rowInBox(inbox, entry.peer, partOf(entry.peer, entry.key),
                          entry.row);
  if (weights)
    row.weight = b.load(weights, {row.row});
  return row;
}
