//===- CombineKernels.cpp - a combine as kernels and messages -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// A combine on a GPU, between ranks that exchange messages. The ranks tell one
/// another which rows they need: those of a rank lie together on each other
/// one, and so do those of one expert with expert_major. What comes lies in an
/// inbox, rank by rank, where the last kernel adds it up.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/CombineSum.h"
#include "KernelBlocks.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

class CombineKernels : public CombineSum {
public:
  CombineKernels(CombineOp op, KernelMessages &b)
      : CombineSum(op, b), messages(b), blocks(b, op.getLayout(), placement) {}

  void lower();

private:
  Value rowsOf(Value) override { return inbox; }
  Value weightsOf(Value) override { return inboxWeights; }
  Value placeOf(Value row, Value key) override;

  Value cover(Value tokens);
  void findBlocks(Value tokens);
  void fetch();
  void sum();

  KernelMessages &messages;
  KernelBlocks blocks;
  std::optional<KernelBlocks::Exchanged> known;
  Value inbox, inboxWeights;
};

} // namespace

void moe::lowerCombineToMessageKernels(CombineOp op, KernelMessages &b) {
  CombineKernels(op, b).lower();
}

void CombineKernels::lower() {
  b.phase("prepare");
  Value tokens = b.dim(op.getSendRow(), 0);
  Value rows = prepare();
  findBlocks(tokens);
  fetch();
  b.phase("reduce");
  sum();
  b.copyBack(rows, op.getOut());
}

void CombineKernels::findBlocks(Value tokens) {
  b.phase("ready");
  if (op.hasBlocks() && !messages.pairRows()) {
    known.emplace(blocks.adopt(op.getPeerBlocks(), op.getPeerRows(),
                               KernelTables::RecvStart, capacity));
    return;
  }
  Value mine = cover(tokens);
  b.phase("exchange");
  known.emplace(blocks.exchange(mine, KernelTables::RecvStart, capacity));
}

/// Of an entry of `send_row` that names no row of an expert there is none.
Value CombineKernels::cover(Value tokens) {
  Value slots = b.index(op.getNumSlots());
  if (!op.isExpertMajor())
    return blocks.cover(tokens, [&](Value token, Value key) {
      return b.checkedSendRow(b.loadIndex(op.getSendRow(), {token, key}),
                              capacity, token, key);
    });
  return blocks.cover(b.mul(tokens, slots), [&](Value i, Value key) {
    Value token = arith::DivUIOp::create(b, i, slots);
    Value slot = arith::RemUIOp::create(b, i, slots);
    Value row = b.checkedSendRow(b.loadIndex(op.getSendRow(), {token, slot}),
                                 capacity, token, slot);
    Value expert = b.loadIndex(op.getTopk(), {token, slot});
    return b.select(b.cmp(Pred::eq, expert, key), row, b.index(-1));
  });
}

/// Rows of a rank that lie together are sent from where they are.
void CombineKernels::fetch() {
  SmallVector<Value> buffers = {b.withContiguousRows(op.getY())};
  if (op.getWeights())
    buffers.push_back(b.withContiguousRows(op.getWeights()));
  SmallVector<std::pair<Value, Value>> packed, moved;
  if (blocks.needsBox()) {
    b.phase("pack");
    Value numRows = known->tables.numRows(KernelTables::SendStart);
    for (Value &buffer : buffers) {
      packed.push_back({buffer, messages.rowsLike(buffer, numRows)});
      buffer = packed.back().second;
    }
    blocks.pack(known->box, packed);
  }
  b.phase("move");
  // What is read in place of a row that is not there is the first one.
  Value numRows =
      messages.pairRows()
          ? b.index(std::max<int64_t>(messages.numPaddedRows(), 1))
          : Value(arith::MaxUIOp::create(
                b, known->tables.numRows(KernelTables::RecvStart), b.index(1)));
  for (Value buffer : buffers)
    moved.push_back({buffer, messages.rowsLike(buffer, numRows)});
  known->tables.exchange(moved);
  inbox = moved.front().second;
  if (op.getWeights())
    inboxWeights = moved.back().second;
}

void CombineKernels::sum() {
  if (needsTickets())
    tickets = b.ticketCounters();
  b.launch(numStageBytes(), [&] {
    epoch = messages.firstEpoch();
    reduce();
  });
}

Value CombineKernels::placeOf(Value row, Value key) {
  return blocks.rowInBox(*known, row, key);
}
