//===- KernelShape.cpp - what kernels an op can have ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

using namespace mlir;
using namespace mlir::moe;

bool moe::allowsBulkCopies(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) ||
      ShapedType::isDynamic(offset) ||
      !type.areTrailingDimsContiguous(type.getRank()))
    return false;
  int64_t elementBytes = type.getElementTypeBitWidth() / 8;
  return getRowBytes(type) % 16 == 0 && offset * elementBytes % 16 == 0;
}

int64_t moe::getRowBytes(MemRefType type) {
  return ShapedType::getNumElements(type.getShape().drop_front()) *
         type.getElementTypeBitWidth() / 8;
}

int64_t moe::getVectorLength(int64_t rowBytes, int64_t elementBytes) {
  int64_t bytes = 16;
  while (rowBytes % bytes != 0)
    bytes /= 2;
  return std::max<int64_t>(bytes / elementBytes, 1);
}

LaunchShape moe::getLaunchShape(CollectiveOpInterface op) {
  KernelAttr kernel = op.getKernelAttr();
  if (!kernel)
    return LaunchShape();
  LaunchShape shape;
  shape.blocks = kernel.getBlocks();
  shape.threads = kernel.getThreads();
  shape.bulk = kernel.getTransfer() == Transfer::bulk;
  shape.stages = kernel.getStages();
  shape.team = kernel.getTeam();
  return shape;
}

LogicalResult moe::checkHasKernel(CollectiveOpInterface op, bool sharesMemory) {
  if (op.getNumRanks() > kMaxKernelRanks)
    return op.emitOpError("expects at most ")
           << kMaxKernelRanks << " ranks with target cuda (" << op.getNumRanks()
           << ")";
  auto combine = dyn_cast<CombineOp>(op.getOperation());
  bool isPush =
      sharesMemory && combine && combine.getAlgorithm() == Algorithm::push;
  LaunchShape shape = getLaunchShape(op);
  if (isPush &&
      !canTake(shape, combine.getTokenBound() * op.getNumRanks() * shape.team))
    return op.emitOpError("expects fewer tokens (")
           << combine.getTokenBound() << ") with algorithm push";
  auto dispatch = dyn_cast<DispatchOp>(op.getOperation());
  bool isExpand = sharesMemory && dispatch && dispatch.isExpand();
  // Blocks may share out a token more each.
  if (isExpand &&
      !canTake(shape, (dispatch.getTokenBound() + shape.blocks) * shape.team))
    return op.emitOpError("expects fewer tokens (")
           << dispatch.getTokenBound() << ") with algorithm expand";
  KernelAttr kernel = op.getKernelAttr();
  if (!kernel || kernel.getTransfer() != Transfer::bulk)
    return success();
  if (isa<AllToAllvOp>(op))
    return op.emitOpError("expects transfer stores (bulk)");
  if (isPush)
    return op.emitOpError("expects transfer stores with algorithm push (bulk)");
  if (isExpand)
    return op.emitOpError(
        "expects transfer stores with algorithm expand (bulk)");
  auto rows = cast<ShapedType>(op->getOperand(0).getType());
  int64_t bits = ShapedType::getNumElements(rows.getShape().drop_front()) *
                 rows.getElementTypeBitWidth();
  if (bits % (16 * 8) != 0)
    return op.emitOpError("expects rows of a multiple of 16 bytes with "
                          "transfer bulk (")
           << rows << ")";
  return success();
}
