//===- AllToAllvVerifier.cpp - constraints of moe.alltoallv ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollectiveVerifier.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult AllToAllvOp::verify() {
  // alltoallv_c3
  if (failed(verifyForm(*this)))
    return failure();
  // alltoallv_c1
  ArrayRef<int64_t> row = getSend().getType().getShape().drop_front();
  if (ShapedType::isDynamicShape(row))
    return emitOpError("expects 'send' (")
           << toString(getSend().getType().getShape())
           << ") to have static dimensions below the leading one";
  auto recv = cast<ShapedType>(getOutputValues().front().getType());
  if (recv.hasRank() && recv.getRank() > 0 && recv.isDynamicDim(0))
    return emitOpError("expects 'recv' (") << recv << ") to have a static C";
  return success();
}

LogicalResult
AllToAllvOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  int64_t numRanks = 0;
  if (failed(verifyGroup(*this, symbolTable, numRanks)))
    return failure();
  // alltoallv_c2
  if (getSendCounts().getType().getDimSize(0) != numRanks)
    return emitOpError("expects 'send_counts' (")
           << toString(getSendCounts().getType().getShape())
           << ") to have one element per rank (" << numRanks << ")";
  // alltoallv_c1, alltoallv_c2
  return verifyOutputTypes(*this, numRanks);
}
