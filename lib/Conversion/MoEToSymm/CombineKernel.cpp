//===- CombineKernel.cpp - lower moe.combine to a kernel ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A combine that pulls, as one persistent kernel: one subgroup per token. Lane
/// `i` learns where the `i`-th row of the token lies (in the order of
/// combine_s1); then all lanes walk over the columns together, read the same
/// columns of all rows, and add them in registers.
///
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

using Pred = ProtocolBuilder::Pred;

namespace {

class CombineKernel {
public:
  CombineKernel(CombineOp op, KernelBuilder &b)
      : op(op), b(b),
        placement{static_cast<int64_t>(op.getNumExperts()), b.numRanks()},
        capacity(op.getY().getType().getDimSize(0)),
        rowLength(op.getY().getType().getDimSize(1)),
        element(op.getY().getType().getElementType()) {}

  void lower();

private:
  /// Where the rows of a token lie, one lane each.
  struct RowList {
    Value count;
    Value row, peer; ///< of this lane's row; row is -1 without one
    Value weight;    ///< null without weights
  };
  /// A row as all lanes see it.
  struct Row {
    Value isRow, row, data, weight;
  };

  int64_t numSlots() {
    return cast<MemRefType>(op.getSendRow().getType()).getDimSize(1);
  }
  /// Rows that are added before the next ones are looked up.
  int64_t batchSize() { return std::min<int64_t>(numSlots(), 8); }
  /// Elements that one lane moves at a time: 16 bytes, or as many as the
  /// alignment of rows allows.
  int64_t vectorLength();
  Type sumType() { return isa<FloatType>(element) ? b.getF32Type() : element; }

  void reduceToken(Value token);
  RowList listRows(Value token);
  Row rowAt(const RowList &list, Value i);
  Value addBatch(const RowList &list, Value base, Value column, Value sum);
  void storeColumns(Value token, Value column, const RowList &list, Value sum);

  CombineOp op;
  KernelBuilder &b;
  ExpertPlacement placement;
  int64_t capacity;
  int64_t rowLength;
  Type element;
  Value numTokens;
};

} // namespace

void moe::lowerCombineToKernel(CombineOp op, KernelBuilder &b) {
  CombineKernel(op, b).lower();
}

int64_t CombineKernel::vectorLength() {
  int64_t elementBytes = element.getIntOrFloatBitWidth() / 8;
  int64_t bytes = 16;
  while ((rowLength * elementBytes) % bytes != 0)
    bytes /= 2;
  return std::max<int64_t>(bytes / elementBytes, 1);
}

void CombineKernel::lower() {
  b.phase("prepare");
  numTokens = b.checkedTokens(op.getSendRow(), op.getTokenBound(),
                              op.getSendRow().getType().isDynamicDim(0));
  Value epochCounter = b.persistent({1}, b.getI64Type());
  Value doneCounter = b.persistent({1}, b.getI64Type());
  Value ready = b.flags();
  Value released = b.flags();
  b.launch([&] {
    Value zero = b.index(0);
    Value epoch = b.add(b.load(epochCounter, zero), b.i64(1));
    b.phase("ready");
    b.onFirstBlock([&] {
      b.forPeers([&](Value peer) {
        symm::SignalOp::create(b, ready, b.me(), peer, epoch);
      });
    });
    b.forPeers(
        [&](Value peer) { symm::WaitOp::create(b, ready, peer, peer, epoch); });
    b.syncBlock();

    b.phase("reduce");
    Value subgroups = b.index(b.numSubgroups());
    b.step(b.add(b.mul(b.block(), subgroups), b.subgroup()), numTokens,
           b.mul(b.numBlocks(), subgroups),
           [&](Value token) { reduceToken(token); });

    b.phase("release");
    Value last = symm::GridArriveOp::create(b, b.getI1Type(), doneCounter);
    b.ifThen(last, [&] {
      b.forPeers([&](Value peer) {
        symm::SignalOp::create(b, released, b.me(), peer, epoch);
        symm::WaitOp::create(b, released, peer, peer, epoch);
      });
      b.onThread(zero, [&] { b.store(epoch, epochCounter, zero); });
    });
  });
}

/// Sorts the rows of `token` into lanes. A vote shows every lane which lanes
/// have a row; with expert_major the number of smaller experts among them is a
/// row's place.
CombineKernel::RowList CombineKernel::listRows(Value token) {
  Value none = b.index(-1), zero = b.index(0);
  RowList list{zero, none, zero, {}};
  for (int64_t base = 0; base < numSlots(); base += kSubgroupSize) {
    int64_t lanes = std::min<int64_t>(kSubgroupSize, numSlots() - base);
    Value slot = b.add(b.index(base), b.lane());
    auto look = scf::IfOp::create(
        b, TypeRange{b.getIndexType(), b.getIndexType()},
        b.cmp(Pred::ult, b.lane(), b.index(lanes)), /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(look.thenBlock());
      Value row = b.loadIndex(op.getSendRow(), {token, slot});
      Value inRange = b.both(b.cmp(Pred::sge, row, none),
                             b.cmp(Pred::slt, row, b.index(capacity)));
      b.check(inRange, symm::Failure::invalid_count, "send_row",
              b.index(capacity - 1), row);
      row = b.select(inRange, row, none);
      Value owner = slot;
      if (op.isExpertMajor()) {
        owner = b.loadIndex(op.getTopk(), {token, slot});
        Value isExpert = b.cmp(Pred::ult, owner, b.index(placement.numExperts));
        row = b.select(isExpert, row, none);
      }
      scf::YieldOp::create(b, ValueRange{row, owner});
      b.setInsertionPointToStart(look.elseBlock());
      scf::YieldOp::create(b, ValueRange{none, zero});
    }
    Value row = look.getResult(0), owner = look.getResult(1);
    Value isRow = b.cmp(Pred::sge, row, zero);
    Value mask = b.ballot(isRow);
    Value place = b.countBits(b.bitsBelow(mask));
    if (op.isExpertMajor()) {
      place = zero;
      for (int64_t other = 0; other < lanes; ++other) {
        Value otherExpert = b.shuffle(owner, b.index(other));
        Value otherIsRow =
            b.cmp(Pred::sge, b.shuffle(row, b.index(other)), zero);
        Value isLess = b.both(otherIsRow, b.cmp(Pred::slt, otherExpert, owner));
        place = b.select(isLess, b.add(place, b.index(1)), place);
      }
      owner = b.owner(b.select(isRow, owner, zero), placement);
    }
    place = b.add(list.count, place);
    // Rows go to the lanes of their places; K bounds their number to 32.
    for (int64_t i = 0; i < lanes; ++i) {
      Value target = b.add(list.count, b.index(i));
      Value from = b.ballot(b.both(isRow, b.cmp(Pred::eq, place, target)));
      Value lane = b.lowestBit(from);
      Value movedRow = b.shuffle(row, lane);
      Value movedPeer = b.shuffle(owner, lane);
      Value isMine = b.both(b.cmp(Pred::eq, b.lane(), target),
                            b.cmp(Pred::ne, from, b.i32(0)));
      list.row = b.select(isMine, movedRow, list.row);
      list.peer = b.select(isMine, movedPeer, list.peer);
    }
    list.count = b.add(list.count, b.countBits(mask));
  }
  if (op.getWeights()) {
    Value isRow = b.cmp(Pred::sge, list.row, zero);
    auto look = scf::IfOp::create(b, TypeRange{b.getF32Type()}, isRow,
                                  /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(look.thenBlock());
    Value there = symm::PeerOp::create(b, op.getWeights(), list.peer);
    scf::YieldOp::create(b, b.load(there, {list.row}));
    b.setInsertionPointToStart(look.elseBlock());
    scf::YieldOp::create(b, Value(arith::ConstantFloatOp::create(
                                b, b.getF32Type(), APFloat(0.0f))));
    list.weight = look.getResult(0);
  }
  return list;
}

CombineKernel::Row CombineKernel::rowAt(const RowList &list, Value i) {
  Row row;
  row.isRow = b.cmp(Pred::slt, i, list.count);
  row.row = b.shuffle(list.row, i);
  row.data = symm::PeerOp::create(b, op.getY(), b.shuffle(list.peer, i));
  if (list.weight)
    row.weight = b.shuffle(list.weight, i);
  return row;
}

/// Adds the columns from `column` on of rows base .. base + batch - 1 to `sum`.
/// All loads come before the first addition, so that they are in flight
/// together.
Value CombineKernel::addBatch(const RowList &list, Value base, Value column,
                              Value sum) {
  auto vectorType = VectorType::get({vectorLength()}, element);
  auto sumVector = cast<VectorType>(sum.getType());
  bool isFloat = isa<FloatType>(element);
  SmallVector<Row> rows;
  SmallVector<Value> loaded;
  for (int64_t u = 0; u < batchSize(); ++u) {
    Row row = rowAt(list, b.add(base, b.index(u)));
    auto look = scf::IfOp::create(b, TypeRange{vectorType}, row.isRow,
                                  /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(look.thenBlock());
    int64_t bytes = vectorLength() * element.getIntOrFloatBitWidth() / 8;
    Value columns = vector::LoadOp::create(
        b, vectorType, row.data, ValueRange{row.row, column},
        /*nontemporal=*/false, llvm::MaybeAlign(bytes));
    scf::YieldOp::create(b, columns);
    b.setInsertionPointToStart(look.elseBlock());
    Value nothing = arith::ConstantOp::create(
        b, DenseElementsAttr::get(vectorType, b.getZeroAttr(element)));
    scf::YieldOp::create(b, nothing);
    rows.push_back(row);
    loaded.push_back(look.getResult(0));
  }
  for (auto [row, columns] : llvm::zip(rows, loaded)) {
    Value term = columns;
    if (isFloat && !element.isF32())
      term = arith::ExtFOp::create(b, sumVector, term);
    if (row.weight)
      term = arith::MulFOp::create(
          b, term, vector::BroadcastOp::create(b, sumVector, row.weight));
    Value next =
        isFloat ? Value(arith::AddFOp::create(b, sum, term)) : b.add(sum, term);
    sum = b.select(row.isRow, next, sum);
  }
  return sum;
}

void CombineKernel::reduceToken(Value token) {
  RowList list = listRows(token);
  auto sumVector = VectorType::get({vectorLength()}, sumType());
  // Adding to -0 leaves every value as it is, and so the first row starts the
  // sum.
  TypedAttr start = isa<FloatType>(element)
                        ? TypedAttr(b.getF32FloatAttr(-0.0f))
                        : cast<TypedAttr>(b.getZeroAttr(element));
  Value length = b.index(vectorLength());
  b.step(b.mul(b.lane(), length), b.index(rowLength),
         b.index(kSubgroupSize * vectorLength()), [&](Value column) {
           Value sum = arith::ConstantOp::create(
               b, DenseElementsAttr::get(sumVector, start));
           if (batchSize() == numSlots()) {
             sum = addBatch(list, b.index(0), column, sum);
           } else {
             auto batches =
                 scf::ForOp::create(b, b.index(0), list.count,
                                    b.index(batchSize()), ValueRange{sum});
             OpBuilder::InsertionGuard guard(b);
             b.setInsertionPointToEnd(batches.getBody());
             scf::YieldOp::create(b, addBatch(list, batches.getInductionVar(),
                                              column,
                                              batches.getRegionIterArg(0)));
             sum = batches.getResult(0);
           }
           storeColumns(token, column, list, sum);
         });
}

/// Rounds and stores; zeros without a row, the bits of a single row
/// (combine_s3, combine_s4).
void CombineKernel::storeColumns(Value token, Value column, const RowList &list,
                                 Value sum) {
  auto vectorType = VectorType::get({vectorLength()}, element);
  int64_t bytes = vectorLength() * element.getIntOrFloatBitWidth() / 8;
  Value value = sum;
  if (isa<FloatType>(element) && !element.isF32())
    value = arith::TruncFOp::create(b, vectorType, value);
  Value nothing = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorType, b.getZeroAttr(element)));
  value = b.select(b.cmp(Pred::eq, list.count, b.index(0)), nothing, value);
  if (!list.weight && isa<FloatType>(element)) {
    Row only = rowAt(list, b.index(0));
    auto look = scf::IfOp::create(b, TypeRange{vectorType},
                                  b.cmp(Pred::eq, list.count, b.index(1)),
                                  /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(look.thenBlock());
    Value bits = vector::LoadOp::create(
        b, vectorType, only.data, ValueRange{only.row, column},
        /*nontemporal=*/false, llvm::MaybeAlign(bytes));
    scf::YieldOp::create(b, bits);
    b.setInsertionPointToStart(look.elseBlock());
    scf::YieldOp::create(b, value);
    value = look.getResult(0);
  }
  vector::StoreOp::create(b, value, op.getOut(), ValueRange{token, column},
                          /*nontemporal=*/false, llvm::MaybeAlign(bytes));
}
