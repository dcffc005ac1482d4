//===- DispatchKernels.cpp - a dispatch as kernels and messages -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// A dispatch on a GPU, between ranks that exchange messages: a kernel counts
/// and packs, a second one places the rows once the counts of all ranks are
/// there, and with expert_major or padding a third one sorts what has come. A
/// last one lists the rows of each expert.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/ExpertLists.h"
#include "DispatchPackKernel.h"
#include "DispatchPlaceKernel.h"

using namespace mlir;
using namespace mlir::moe;

using Output = DispatchOp::Output;

namespace {

class DispatchKernels {
public:
  DispatchKernels(DispatchOp op, KernelMessages &b)
      : op(op), b(b),
        placement{static_cast<int64_t>(op.getNumExperts()), b.numRanks()},
        blocks(b, op.getLayout(), placement), packKernel(op, b) {}

  void lower();

private:
  void lowerReuse();
  KernelBlocks::Exchanged findReusedBlocks();
  void listRows();
  void move(KernelTables &tables, const KernelBlocks::Box &inbox);

  DispatchOp op;
  KernelMessages &b;
  ExpertPlacement placement;
  KernelBlocks blocks;
  DispatchPackKernel packKernel;
};

} // namespace

void moe::lowerDispatchToMessageKernels(DispatchOp op, KernelMessages &b) {
  DispatchKernels(op, b).lower();
}

void DispatchKernels::lower() {
  b.phase("prepare");
  packKernel.prepare();
  if (op.isReuse())
    return lowerReuse();
  Value numTokens = packKernel.getNumTokens();
  packKernel.allocateOutbox(packKernel.numOutboxRows());
  b.phase("count");
  Value counts = packKernel.countAndPack();
  b.phase("exchange");
  Value all = b.allGatherCounts(counts);
  b.phase("place");
  KernelTables tables(b, op.getKeepBlocks());
  KernelBlocks::Box inbox;
  if (blocks.needsBox())
    inbox = blocks.allocateBox();
  DispatchPlaceKernel placeKernel(op, b, numTokens, all);
  placeKernel.lower(tables, blocks, inbox);
  tables.read();
  if (b.pairRows())
    clearBlocks(op, b);
  else if (op.getKeepBlocks())
    tables.kept().copyTo(op.getOutput(Output::PeerRows));
  move(tables, inbox);
  if (op.hasZeroPadding()) {
    b.phase("pad");
    placeKernel.fillEmptyRows();
  }
  if (op.hasLists())
    listRows();
}

/// A kernel of its own: what comes before it is complete, and so its blocks
/// need not meet to read what has been received.
void DispatchKernels::listRows() {
  b.phase("list");
  ExpertLists lists(op, b);
  lists.allocate(/*meetsBefore=*/false);
  b.launch(lists.numStageBytes(), [&] {
    lists.begin();
    lists.build(b.integer(b.getI1Type(), 1),
                op.getOutput(Output::TokensFromRank));
  });
}

/// Unless a dispatch has kept them, nobody knows the rows of others, so each
/// rank tells which it sends.
KernelBlocks::Exchanged DispatchKernels::findReusedBlocks() {
  b.phase("ready");
  int64_t capacity = op.getNumRows(b.numRanks());
  if (op.hasBlocks() && !b.pairRows())
    return blocks.adopt(op.getPeerBlocks(), op.getPeerRows(),
                        KernelTables::SendStart, capacity);
  Value mine = packKernel.cover(blocks);
  b.phase("exchange");
  return blocks.exchange(mine, KernelTables::SendStart, capacity);
}

void DispatchKernels::lowerReuse() {
  KernelBlocks::Exchanged known = findReusedBlocks();
  b.phase("pack");
  packKernel.allocateOutbox(known.tables.numRows(KernelTables::SendStart));
  packKernel.packReused(blocks, known);
  move(known.tables, known.box);
  if (!op.hasZeroPadding())
    return;
  b.phase("pad");
  packKernel.padReused(blocks, known.theirs);
}

/// Rows of a sender that lie together are received where they belong.
void DispatchKernels::move(KernelTables &tables,
                           const KernelBlocks::Box &inbox) {
  b.phase("move");
  SmallVector<std::pair<Value, Value>> sent, placed, copied;
  for (Output kind : {Output::RecvX, Output::RecvScales, Output::RecvTopkIdx,
                      Output::RecvTopkWeights, Output::RecvSrcIdx}) {
    Value buffer = op.getOutput(kind);
    if (!buffer)
      continue;
    Value target = b.withAlignedRows(buffer);
    Value received = target;
    if (blocks.needsBox())
      received = b.rowsLike(buffer, tables.numRows(KernelTables::RecvStart));
    sent.push_back({packKernel.rowTarget(kind), received});
    placed.push_back({received, target});
    copied.push_back({target, buffer});
  }
  tables.exchange(sent);
  if (blocks.needsBox()) {
    b.phase("unpack");
    blocks.unpack(inbox, placed, op.getNumRows(b.numRanks()));
  }
  for (auto [target, buffer] : copied)
    b.copyBack(target, buffer);
}
