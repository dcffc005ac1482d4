//===- StageLowering.cpp - bulk copies of kernels that fibers execute -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FiberLowering.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult FiberLowering::lower(symm::StageInitOp op) {
  auto type = cast<MemRefType>(op.getCounters().getType());
  return replace(op, "stage_init", "vpii",
                 {rowAddress(op.getCounters(), i64(0)),
                  i64(type.getNumElements()), i64(op.getArrivals())});
}

LogicalResult FiberLowering::lower(symm::StageExpectOp op) {
  return replace(
      op, "stage_expect", "vpi",
      {rowAddress(op.getCounters(), op.getIndex()), toI64(op.getBytes())});
}

LogicalResult FiberLowering::lower(symm::StageArriveOp op) {
  return replace(op, "stage_arrive", "vp",
                 rowAddress(op.getCounters(), op.getIndex()));
}

LogicalResult FiberLowering::lower(symm::StageWaitOp op) {
  return replace(
      op, "stage_wait", "vpi",
      {rowAddress(op.getCounters(), op.getIndex()), toI64(op.getParity())});
}

LogicalResult FiberLowering::lower(symm::FetchOp op) {
  return replace(op, "fetch", "vppip",
                 {rowAddress(op.getStage(), op.getSlot()),
                  address(op.getSource(), op.getIndices()),
                  i64(rowBytes(op.getStage())),
                  rowAddress(op.getCounters(), op.getCounter())});
}

LogicalResult FiberLowering::lower(symm::PutWaitOp op) {
  return replace(op, "put_wait", "viii",
                 {nextSite(), i64(op.getPending()), i64(op.getRead())});
}

LogicalResult FiberLowering::lower(symm::BulkFenceOp op) {
  return replace(op, "yield", "v", {});
}
