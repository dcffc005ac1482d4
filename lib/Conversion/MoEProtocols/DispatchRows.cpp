//===- DispatchRows.cpp - memory of the kernels of a dispatch -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchRows.h"

using namespace mlir;
using namespace mlir::moe;

/// Keys whose numbers fit the shared memory of a block beside stages.
static constexpr int64_t kMaxKeysBesideStages = 1024;
/// Entries of all tables of a dispatch by rank, by itself and beside stages.
static constexpr int64_t kMaxSharedEntries = 12000;
static constexpr int64_t kMaxEntriesBesideStages = 4096;

void DispatchRows::allocateNumbering() {
  Type i32 = b.getI32Type();
  if (sharesOutTokens())
    tickets = b.ticketCounters();
  if (op.isReuse())
    return;

  auto rowType = cast<MemRefType>(op.getOutput(Output::SendRow).getType());
  SmallVector<Value> dynamicSizes;
  if (rowType.isDynamicDim(0))
    dynamicSizes.push_back(numTokens);
  if (countsInChunks()) {
    if (postsMasks())
      posted = b.counters(numChunkKeys() * numChunks());
    int64_t entries = (2 * numChunks() + 1) * numChunkKeys() +
                      2 * b.numRanks() + numOtherEntries();
    if (entries >
        (movesInBulk() ? kMaxEntriesBesideStages : kMaxSharedEntries)) {
      maskScratch = scratchTable({numChunks(), numChunkKeys()});
      chunkScratch = scratchTable({numChunks() + 1, numChunkKeys()});
    }
  } else if (!marksTokens()) {
    rowNumber = b.scratch(rowType.getShape(), i32, dynamicSizes);
    barrierCounter = b.counters(1);
    blockCounts = b.scratch({numKeys(), b.maxBlocks()}, i32);
    counts = b.scratch({1, numKeys()}, i32);
  }
  if (keyIsExpert())
    allocateRouting();
  bool isLarge =
      numKeys() > (movesInBulk() ? kMaxKeysBesideStages : kMaxSharedKeys);
  if (usesStarts() && (isLarge || sharesStarts()))
    startScratch = scratchTable(numKeys());
  if (isLarge && keyIsExpert()) {
    groupScratch = scratchTable(numKeys());
    groupRowsScratch = scratchTable(numKeys());
  }
}

void DispatchRows::leaveTokensUnless(Value condition) {
  conditions.push_back(condition);
  end = b.select(condition, end, first);
  tokensToPut = b.select(condition, tokensToPut, b.index(0));
}

Value DispatchRows::rowTarget(Output kind, Value peer) {
  Value rows = rowTarget(kind);
  if (!symm::isSymmetric(rows.getType()))
    return rows;
  return symm::PeerOp::create(b, rows, peer);
}
