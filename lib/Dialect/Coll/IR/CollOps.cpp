//===- CollOps.cpp - coll dialect operations ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Coll/IR/Coll.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::coll;

#define GET_OP_CLASSES
#include "moe-mlir/Dialect/Coll/IR/CollOps.cpp.inc"

/// Rows of both buffers have the same static shape.
template <typename OpTy> static LogicalResult verifyRowShape(OpTy op) {
  auto send = cast<MemRefType>(op.getSend().getType());
  auto recv = cast<MemRefType>(op.getRecv().getType());
  ArrayRef<int64_t> row = send.getShape().drop_front();
  if (row != recv.getShape().drop_front() || ShapedType::isDynamicShape(row))
    return op.emitOpError("expects the row shape of 'send' (")
           << send << ") to be static, and that of 'recv' (" << recv << ")";
  return success();
}

/// coll_c2
LogicalResult AllGatherOp::verify() {
  if (failed(verifyRowShape(*this)))
    return failure();
  int64_t part = cast<MemRefType>(getSend().getType()).getDimSize(0);
  int64_t all = cast<MemRefType>(getRecv().getType()).getDimSize(0);
  if (part == 0 || all == 0 || all % part != 0)
    return emitOpError("expects the rows of 'recv' (")
           << all << ") to be a multiple of those of 'send' (" << part
           << "), one for each rank";
  return success();
}

/// coll_c3
LogicalResult AllToAllOp::verify() {
  auto send = cast<MemRefType>(getSend().getType());
  auto recv = cast<MemRefType>(getRecv().getType());
  if (send.getShape() != recv.getShape())
    return emitOpError("expects the shape of 'send' (")
           << send << ") to be that of 'recv' (" << recv << ")";
  return success();
}

void ExchangeOp::build(OpBuilder &builder, OperationState &state,
                       llvm::function_ref<void(OpBuilder &)> body) {
  OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(state.addRegion());
  body(builder);
}

/// coll_c4
LogicalResult ExchangeOp::verifyRegions() {
  RowsOp first;
  for (Operation &op : getBody().front()) {
    auto rows = dyn_cast<RowsOp>(op);
    if (!rows)
      return emitOpError("expects nothing but 'coll.rows' in its region ('")
             << op.getName() << "')";
    if (!first)
      first = rows;
    Type table = rows.getSendStarts().getType();
    int64_t ranks =
        cast<MemRefType>(first.getSendStarts().getType()).getDimSize(0);
    if (cast<MemRefType>(table).getDimSize(0) != ranks)
      return rows.emitOpError("expects tables for as many ranks as the others "
                              "of the exchange (")
             << table << ", " << ranks << ")";
  }
  if (!first)
    return emitOpError("expects at least one 'coll.rows' in its region (0)");
  return success();
}

/// coll_c7
LogicalResult TableOp::verify() {
  auto type = cast<MemRefType>(getTable().getType());
  if (!type.getLayout().isIdentity())
    return emitOpError("expects the table (") << type << ") to have no layout";
  ArrayRef<int32_t> numbers = getNumbers();
  if (static_cast<int64_t>(numbers.size()) != type.getDimSize(0))
    return emitOpError("expects as many numbers as the table has elements (")
           << numbers.size() << ", " << type << ")";
  for (int32_t number : numbers)
    if (number < 0)
      return emitOpError("expects no negative number (") << number << ")";
  return success();
}

/// coll_c5
LogicalResult RowsOp::verify() { return verifyRowShape(*this); }
