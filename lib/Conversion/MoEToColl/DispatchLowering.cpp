//===- DispatchLowering.cpp - lower moe.dispatch to messages --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A dispatch in one exchange of rows, between ranks that know how many there
/// are: from the counts of all ranks, or with `reuse` from the rows that each
/// rank has told the others.
///
//===----------------------------------------------------------------------===//

#include "../MoEProtocols/DispatchPadding.h"
#include "../MoEProtocols/SerialDispatch.h"
#include "Blocks.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

class DispatchLowering : public SerialDispatch {
public:
  DispatchLowering(DispatchOp op, CollBuilder &messages)
      : SerialDispatch(op, messages), messages(messages) {}

  void lower();

private:
  /// Something that travels with each row.
  struct Field {
    Output kind;
    Value out;  ///< the result
    Value sent; ///< this rank's rows, packed
  };

  int64_t numParts() { return op.isExpertMajor() ? placement.maxPerRank() : 1; }
  Value partOf(const RowPlace &place);
  std::optional<int64_t> getDropBound();
  void checkPairs();

  void count();
  void findBlocksByRank(Value all);
  void findBlocksByExpert(Value all);
  void findReusedBlocks();
  void allocateFields();
  void pack();
  void packRow(const RowPlace &place);
  void move();
  void keepBlocks();
  void keepRows(const CollBuilder::Table &table, int64_t first);
  void pad();
  void fillWithZeros(Value buffer);

  CollBuilder &messages;
  std::optional<Blocks> mine;   ///< this rank's rows on all ranks
  std::optional<Blocks> theirs; ///< the rows of all ranks here
  Blocks::Box outbox;
  CollBuilder::Table received; ///< rows of all ranks, where they come in
  SmallVector<Field> fields;
};

} // namespace

void moe::lowerDispatchToColl(DispatchOp op, CollBuilder &b) {
  DispatchLowering(op, b).lower();
}

void DispatchLowering::lower() {
  b.phase(op.isReuse() ? "ready" : "route");
  prepare();
  if (op.isReuse())
    findReusedBlocks();
  else
    count();
  b.phase("pack");
  pack();
  b.phase("move");
  move();
  if (op.getKeepBlocks() && !messages.pairRows())
    keepBlocks();
  else
    clearBlocks(op, b);
  if (op.hasZeroPadding())
    pad();
  if (op.hasLists())
    listRows();
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

Value DispatchLowering::partOf(const RowPlace &place) {
  if (!op.isExpertMajor())
    return b.index(0);
  return b.sub(place.key, b.firstExpert(place.peer, placement));
}

/// Rows past it are not sent (dispatch_s9).
std::optional<int64_t> DispatchLowering::getDropBound() {
  if (op.getOverflow() == Overflow::drop && !isSlab())
    return capacity;
  return std::nullopt;
}

/// Rows that are left out later have a place in a message like all others.
void DispatchLowering::checkPairs() {
  Value room = b.index(*messages.pairRows());
  b.loop(b.numRanks(), [&](Value peer) {
    for (Output counts : {Output::TokensToRank, Output::TokensFromRank}) {
      Value rows = b.loadIndex(op.getOutput(counts), {peer});
      b.check(b.cmp(arith::CmpIPredicate::ule, rows, room),
              symm::Failure::capacity_exceeded, kPairRowsText, room, rows,
              peer);
    }
  });
}

void DispatchLowering::count() {
  route();
  b.phase("count");
  SerialDispatch::count();
  b.phase("exchange");
  Value all = exchangeCounts();
  b.phase("place");
  if (isSlab())
    placeInSlabs();
  else
    place(all);
  mine.emplace(messages, numParts());
  theirs.emplace(messages, numParts());
  if (op.isExpertMajor())
    findBlocksByExpert(all);
  else
    findBlocksByRank(all);
  if (getDropBound() && messages.mayExceedPairRows())
    checkPairs();
}

/// rank_major and slab; `all` is R×R.
void DispatchLowering::findBlocksByRank(Value all) {
  Value zero = b.index(0);
  Value bound = b.index(op.getTokenBound());
  b.loop(b.numRanks(), [&](Value peer) {
    Value first =
        isSlab() ? b.mul(b.me(), bound) : b.sumOfSenders(all, peer).first;
    Value rows = b.loadIndex(op.getOutput(Output::TokensToRank), {peer});
    mine->set(peer, zero, first, rows, getDropBound());
  });
  b.reduce(zero, b.index(b.numRanks()), zero,
           [&](Value sender, ValueRange sum) -> SmallVector<Value> {
             Value first = isSlab() ? b.mul(sender, bound) : sum[0];
             Value rows = b.loadIndex(all, {sender, b.me()});
             theirs->set(sender, zero, first, rows, getDropBound());
             if (isSlab())
               b.storeIndex(rows, op.getOutput(Output::TokensFromRank),
                            {sender});
             return {b.add(sum[0], rows)};
           });
}

/// expert_major; `all` is R×E.
void DispatchLowering::findBlocksByExpert(Value all) {
  b.loop(b.numRanks(), [&](Value peer) {
    auto [first, last] = expertsOf(peer);
    b.loop(first, last, [&, first = first](Value expert) {
      mine->set(peer, b.sub(expert, first), b.loadIndex(start, {expert}),
                b.loadIndex(counts, {b.index(0), expert}), getDropBound());
    });
  });
  auto [first, last] = expertsOf(b.me());
  b.loop(first, last, [&, first = first](Value expert) {
    Value local = b.sub(expert, first);
    Value group = b.loadIndex(op.getOutput(Output::ExpertOffsets), {local});
    b.reduce(b.index(0), b.index(b.numRanks()), group,
             [&](Value sender, ValueRange row) -> SmallVector<Value> {
               Value rows = b.loadIndex(all, {sender, expert});
               theirs->set(sender, local, row[0], rows, getDropBound());
               return {b.add(row[0], rows)};
             });
  });
}

/// reuse: nobody knows the rows of others, so each rank tells which it sends.
void DispatchLowering::findReusedBlocks() {
  mine.emplace(messages, numParts());
  forEachReusedRow(/*isChecked=*/false, [&](const RowPlace &place) {
    mine->cover(place.peer, partOf(place), place.row);
  });
  mine->endCover();
  b.phase("exchange");
  theirs.emplace(mine->exchange(capacity));
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

void DispatchLowering::allocateFields() {
  for (Output kind : {Output::RecvX, Output::RecvScales, Output::RecvTopkIdx,
                      Output::RecvTopkWeights, Output::RecvSrcIdx})
    if (Value out = op.getOutput(kind))
      fields.push_back({kind, out, messages.rowsLike(out, outbox.numRows)});
}

void DispatchLowering::pack() {
  outbox = mine->box(/*mayBeTooMany=*/op.isReuse());
  allocateFields();
  auto packRow = [&](const RowPlace &place) { this->packRow(place); };
  if (!op.isReuse())
    return forEachRow(packRow);
  // Between the first and the last row of a block, `send_row` may leave some
  // out: they are empty (dispatch_s12).
  if (op.hasZeroPadding())
    for (const Field &field : fields)
      fillWithZeros(field.sent);
  forEachReusedRow(/*isChecked=*/true, packRow);
}

void DispatchLowering::packRow(const RowPlace &place) {
  Value row = mine->rowInBox(outbox, place.peer, partOf(place), place.row);
  auto sent = [&](Output kind) -> Value {
    for (const Field &field : fields)
      if (field.kind == kind)
        return field.sent;
    return {};
  };
  messages.copyRow(x, place.token, sent(Output::RecvX), row);
  if (scales)
    messages.copyRow(scales, place.token, sent(Output::RecvScales), row);
  if (!op.isReuse())
    storeMetadata(place.token, place.slot, place.peer, row, sent);
}

/// Rows of a sender that lie together are received where they belong.
void DispatchLowering::move() {
  SmallVector<CollBuilder::Rows> rows;
  if (op.isExpertMajor() || messages.pairRows()) {
    Blocks::Box inbox = theirs->box(/*mayBeTooMany=*/op.isReuse());
    received = inbox.table;
    for (const Field &field : fields)
      rows.push_back({field.sent, outbox.table,
                      messages.rowsLike(field.out, inbox.numRows),
                      inbox.table});
    messages.exchange(rows);
    b.phase("unpack");
    for (auto [field, pair] : llvm::zip_equal(fields, rows))
      theirs->unpack(inbox, pair.recv, field.out);
    return;
  }
  received = theirs->inPlace();
  for (const Field &field : fields)
    rows.push_back(
        {field.sent, outbox.table, b.withAlignedRows(field.out), received});
  messages.exchange(rows);
  for (auto [field, pair] : llvm::zip_equal(fields, rows))
    b.copyBack(pair.recv, field.out);
}

/// dispatch_s16
void DispatchLowering::keepBlocks() {
  Value kept = op.getOutput(Output::PeerBlocks);
  mine->copyTo(kept, 0);
  theirs->copyTo(kept, 1);
  keepRows(outbox.table, 0);
  keepRows(received, 2);
}

void DispatchLowering::keepRows(const CollBuilder::Table &table,
                                int64_t first) {
  Value kept = op.getOutput(Output::PeerRows);
  b.loop(b.numRanks(), [&](Value rank) {
    b.store(b.load(table.starts, {rank}), kept, {b.index(first), rank});
    b.store(b.load(table.counts, {rank}), kept, {b.index(first + 1), rank});
  });
}

void DispatchLowering::pad() {
  DispatchPadding padding(op, b);
  if (!op.isReuse())
    return padding.fillByCounts();
  Value marks = b.scratch({capacity}, b.getI8Type());
  b.fill(marks, 0);
  Value isSent = b.integer(b.getI8Type(), 1);
  theirs->forEach([&](Value, Value, Value first, Value end) {
    b.loop(first, end, [&](Value row) { b.store(isSent, marks, {row}); });
  });
  padding.setRuns(marks);
  padding.fillByRuns(isSent);
}

void DispatchLowering::fillWithZeros(Value buffer) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Value zero =
      arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(element)));
  linalg::FillOp::create(b, zero, buffer);
}
