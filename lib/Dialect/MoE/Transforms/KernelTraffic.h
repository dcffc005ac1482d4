//===- KernelTraffic.h - what the kernel of a moe op moves -------*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_KERNELTRAFFIC_H
#define MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_KERNELTRAFFIC_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

namespace mlir::moe {

/// What an op moves, as far as its types and attributes say.
struct KernelTraffic {
  int64_t rowBytes = 0;
  /// Tokens (alltoallv: rows) of a rank, at most.
  int64_t tokens = 0;
  /// Bytes of the smallest stage.
  int64_t stageBytes = 0;
  /// Rows of a token, at most, of a combine, and whether tokens are expected to
  /// have fewer.
  int64_t rowsOfToken = 1;
  bool hasFewerRows = false;
  int64_t ranks = 1;
  bool isDispatch = false, isCombine = false, isPush = false;
  /// Whether rows of a dispatch are ordered by expert, anew, and of how many.
  bool isByExpert = false;
  /// Whether ranks copy rows that they receive to their other places.
  bool isExpand = false;
  int64_t experts = 1;
  /// Rows that a dispatch may have to fill, at most (dispatch_s12).
  int64_t paddedRows = 0;
  /// Copies of a row that leave the rank, expected of a uniform routing.
  double rowsOut = 1;
  bool hasBulkForm = true;
  /// Whether the work is spread by bytes, not token by token.
  bool hasPieces = false;
};

/// Of `op`, in its memref form or its tensor form.
KernelTraffic getKernelTraffic(CollectiveOpInterface op);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_KERNELTRAFFIC_H
