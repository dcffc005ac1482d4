//===- KernelTraffic.cpp - what the kernel of a moe op moves --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelTraffic.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

KernelTraffic moe::getKernelTraffic(CollectiveOpInterface op) {
  KernelTraffic traffic;
  auto rows = cast<ShapedType>(op->getOperand(0).getType());
  traffic.ranks = op.getNumRanks();
  traffic.rowBytes = ShapedType::getNumElements(rows.getShape().drop_front()) *
                     llvm::divideCeil(rows.getElementTypeBitWidth(), 8);
  if (auto dispatch = dyn_cast<DispatchOp>(*op)) {
    traffic.isDispatch = true;
    traffic.stageBytes = traffic.rowBytes;
    traffic.tokens = dispatch.getTokenBound();
    traffic.isByExpert =
        !dispatch.isReuse() &&
        (dispatch.isExpertMajor() || dispatch.getOrder() == Order::expert);
    traffic.experts = dispatch.getNumExperts();
    if (dispatch.hasZeroPadding())
      traffic.paddedRows = dispatch.getNumRows(traffic.ranks);
    double ranks = op.getNumRanks(), missed = 1;
    // [T, K], or [T, ranks] when rows of other layouts go where they went.
    Value slots = dispatch.isReuse() ? dispatch.getReuse().front()
                                     : dispatch.getTopkIdx();
    int64_t numSlots = cast<ShapedType>(slots.getType()).getDimSize(1);
    traffic.isExpand = dispatch.isExpand();
    traffic.hasBulkForm = !traffic.isExpand;
    if (dispatch.isExpertMajor() && !traffic.isExpand) {
      traffic.rowsOut = numSlots * (ranks - 1) / ranks;
    } else if (dispatch.isReuse() && !traffic.isExpand) {
      // At most: how many experts a token has is not known.
      traffic.rowsOut = ranks - 1;
    } else {
      for (int64_t k = 0; k < numSlots; ++k)
        missed *= 1 - 1 / ranks;
      traffic.rowsOut = (ranks - 1) * (1 - missed);
    }
  } else if (auto combine = dyn_cast<CombineOp>(*op)) {
    traffic.tokens = combine.getTokenBound();
    // A stage holds a part of each row of a token.
    traffic.isPush = combine.getAlgorithm() == Algorithm::push;
    traffic.isCombine = true;
    traffic.hasBulkForm = !traffic.isPush;
    traffic.rowsOfToken = combine.getNumSlots();
    if (combine.returnsRows()) {
      // Each slot is a token of its own.
      traffic.tokens *= traffic.rowsOfToken;
      traffic.rowsOfToken = 1;
    }
    traffic.hasFewerRows = !combine.isExpertMajor() && traffic.rowsOfToken > 1;
    traffic.stageBytes = 16 * traffic.rowsOfToken;
  } else {
    auto recv = cast<ShapedType>(op.getOutputValues().front().getType());
    traffic.tokens =
        rows.isDynamicDim(0) ? recv.getDimSize(0) : rows.getDimSize(0);
    traffic.hasBulkForm = false;
    traffic.hasPieces = true;
  }
  return traffic;
}
