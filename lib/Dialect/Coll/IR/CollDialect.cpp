//===- CollDialect.cpp - coll dialect -------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Coll/IR/Coll.h"

using namespace mlir;
using namespace mlir::coll;

#include "moe-mlir/Dialect/Coll/IR/CollDialect.cpp.inc"

void CollDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "moe-mlir/Dialect/Coll/IR/CollOps.cpp.inc"
      >();
}

bool coll::hasWholeElements(MemRefType type) {
  Type element = type.getElementType();
  return element.isIntOrFloat() &&
         llvm::is_contained({8, 16, 32, 64}, element.getIntOrFloatBitWidth());
}

bool coll::hasContiguousRows(MemRefType type) {
  return type.areTrailingDimsContiguous(type.getRank());
}
