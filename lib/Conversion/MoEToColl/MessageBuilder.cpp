//===- MessageBuilder.cpp - messages of an op -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MessageBuilder.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

MessageBuilder::MessageBuilder(CollectiveOpInterface op, ProtocolBuilder &b,
                               MessageSchedule schedule)
    : builder(b), most(op.getMaxPairRows(b.numRanks())) {
  if (ScheduleAttr own = op.getScheduleAttr())
    schedule.isPadded = own.getValue() == Schedule::padded;
  if (!schedule.isPadded)
    return;
  // Tables are i32; what does not fit is found when it comes.
  room = std::min(most, std::numeric_limits<int32_t>::max() / b.numRanks());
  if (schedule.pairCapacity)
    room = std::min(schedule.pairCapacity, *room);
}

int64_t MessageBuilder::numPaddedRows() const {
  return *room * builder.numRanks();
}

MessageBuilder::Table MessageBuilder::paddedTable() {
  auto type = MemRefType::get({builder.numRanks()}, builder.getI32Type());
  SmallVector<int32_t> starts, counts(builder.numRanks(), *room);
  for (int64_t rank = 0; rank < builder.numRanks(); ++rank)
    starts.push_back(static_cast<int32_t>(rank * *room));
  return {coll::TableOp::create(builder, type, starts),
          coll::TableOp::create(builder, type, counts)};
}

Value MessageBuilder::allGather(Value counts) {
  auto type = cast<MemRefType>(counts.getType());
  Value all = builder.scratch({builder.numRanks(), type.getDimSize(1)},
                              type.getElementType());
  coll::AllGatherOp::create(builder, counts, all);
  return all;
}

Value MessageBuilder::allToAll(Value send) {
  auto type = cast<MemRefType>(send.getType());
  Value recv = builder.scratch(type.getShape(), type.getElementType());
  coll::AllToAllOp::create(builder, send, recv);
  return recv;
}

void MessageBuilder::exchange(ArrayRef<Rows> rows) {
  coll::ExchangeOp::create(builder, [&](OpBuilder &body) {
    for (const Rows &pair : rows)
      coll::RowsOp::create(body, builder.getLoc(), pair.send, pair.from.starts,
                           pair.from.counts, pair.recv, pair.to.starts,
                           pair.to.counts);
  });
}

Value MessageBuilder::rowsLike(Value memref, Value numRows) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> shape = llvm::to_vector(type.getShape());
  std::optional<int64_t> known = getConstantIntValue(numRows);
  shape.front() = known.value_or(ShapedType::kDynamic);
  return builder.scratch(shape, type.getElementType(),
                         known ? ValueRange() : ValueRange(numRows));
}
