//===- SymmKernelOps.cpp - symm operations of GPU kernels -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

using namespace mlir;
using namespace mlir::symm;

bool symm::isStage(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  return memref && gpu::GPUDialect::isWorkgroupMemoryAddressSpace(
                       memref.getMemorySpace());
}

LogicalResult JoinLoadsOp::verify() {
  if (getValues().empty())
    return emitOpError("expects at least one of 'values' (0)");
  return success();
}

LogicalResult FetchOp::verify() {
  auto source = cast<MemRefType>(getSource().getType());
  auto stage = cast<MemRefType>(getStage().getType());
  if (source.getElementType() != stage.getElementType())
    return emitOpError("expects the element type of 'source' (")
           << source.getElementType() << ") to be that of 'stage' ("
           << stage.getElementType() << ")";
  if (static_cast<int64_t>(getIndices().size()) != source.getRank())
    return emitOpError("expects ")
           << source.getRank() << " indices of 'source' ("
           << getIndices().size() << ")";
  if (source.getRank() == 0 || !source.areTrailingDimsContiguous(1))
    return emitOpError("expects 'source' (")
           << source << ") to have contiguous rows";
  if (!stage.areTrailingDimsContiguous(stage.getRank()))
    return emitOpError("expects 'stage' (") << stage << ") to be contiguous";
  Type element = stage.getElementType();
  if (!element.isIntOrFloat())
    return emitOpError("expects 'stage' (")
           << stage << ") to have elements of integer or float type";
  int64_t bytes = ShapedType::getNumElements(stage.getShape().drop_front()) *
                  element.getIntOrFloatBitWidth() / 8;
  if (bytes % 16 != 0)
    return emitOpError("expects rows of 'stage' to have a multiple of 16 bytes "
                       "(")
           << bytes << ")";
  return success();
}
