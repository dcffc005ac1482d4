//===- CombineVerifier.cpp - constraints of moe.combine -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollectiveVerifier.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult CombineOp::verify() {
  if (failed(verifyForm(*this)))
    return failure();
  // combine_c1
  ShapedType y = getY().getType();
  if (!y.hasStaticShape() || y.getDimSize(1) < 1)
    return emitOpError("expects 'y' (")
           << toString(y.getShape())
           << ") to have static C and a static H of at least 1";
  if (getRecvSrcIdx().getType().getDimSize(0) != y.getDimSize(0))
    return emitOpError("expects 'recv_src_idx' (")
           << toString(getRecvSrcIdx().getType().getShape())
           << ") to have one element per row of 'y' (" << toString(y.getShape())
           << ")";
  if (Value weights = getWeights()) {
    auto type = cast<ShapedType>(weights.getType());
    if (type.getDimSize(0) != y.getDimSize(0))
      return emitOpError("expects 'weights' (")
             << toString(type.getShape())
             << ") to have one element per row of 'y' ("
             << toString(y.getShape()) << ")";
    // combine_c6
    if (!isa<FloatType>(y.getElementType()))
      return emitOpError("expects 'y' of floating-point element type with "
                         "'weights' (")
             << y.getElementType() << ")";
  }
  // combine_c2
  if (isExpertMajor() != static_cast<bool>(getTopk()))
    return emitOpError("expects ")
           << (isExpertMajor() ? "'topk'" : "no 'topk'") << " with layout "
           << stringifyLayout(getLayout());
  ShapedType sendRow = getSendRow().getType();
  if (Value topk = getTopk()) {
    auto type = cast<ShapedType>(topk.getType());
    if (type.getShape() != sendRow.getShape())
      return emitOpError("expects 'send_row' (")
             << toString(sendRow.getShape())
             << ") to have the shape of 'topk' (" << toString(type.getShape())
             << ")";
    int64_t topK = type.getDimSize(1);
    if (ShapedType::isDynamic(topK) || topK < 1 || topK > kMaxTopK)
      return emitOpError("expects 'topk' (")
             << toString(type.getShape()) << ") to have a static K from 1 to "
             << kMaxTopK;
  }
  // combine_c10
  if (returnsRows() && getAlgorithm() == Algorithm::push)
    return emitOpError("expects algorithm pull with reduce none (push)");
  // combine_c11
  if (roundsPartials()) {
    if (!isa<FloatType>(y.getElementType()))
      return emitOpError("expects 'y' of floating-point element type with "
                         "partials element (")
             << y.getElementType() << ")";
    if (returnsRows())
      return emitOpError("expects reduce sum with partials element (none)");
    if (!isExpertMajor())
      return emitOpError("expects layout expert_major with partials element (")
             << stringifyLayout(getLayout()) << ")";
  }
  // combine_c5
  return verifyTokenBound(*this, sendRow, getMaxTokens());
}

LogicalResult CombineOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  int64_t numRanks = 0;
  if (failed(verifyGroup(*this, symbolTable, numRanks)))
    return failure();
  // combine_c2
  ShapedType sendRow = getSendRow().getType();
  if (!isExpertMajor() && sendRow.getDimSize(1) != numRanks)
    return emitOpError("expects 'send_row' (")
           << toString(sendRow.getShape()) << ") to have one column per rank ("
           << numRanks << ")";
  // combine_c4
  if (getNTokensFromRank().getType().getDimSize(0) != numRanks)
    return emitOpError("expects 'n_tokens_from_rank' (")
           << toString(getNTokensFromRank().getType().getShape())
           << ") to have one element per rank (" << numRanks << ")";
  // combine_c8
  if (failed(verifyRowNumbers(*this, numRanks, getTokenBound())))
    return failure();
  // combine_c12
  if (failed(verifyBlocks(*this, numRanks)))
    return failure();
  // combine_c3
  return verifyOutputTypes(*this, numRanks);
}
