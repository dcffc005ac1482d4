//===- AlgorithmPlan.h - Which algorithms kernels follow --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// How rows cross between ranks whose kernels reach each other's memory.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_ALGORITHMPLAN_H
#define MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_ALGORITHMPLAN_H

#include "KernelPlan.h"

namespace mlir::moe {

struct AlgorithmChoice {
  Algorithm algorithm;
  std::string reason;
};

struct DispatchAlgorithmChoice {
  DispatchAlgorithm algorithm;
  std::string reason;
};

/// Why a combine of this form cannot push, whatever its size (combine_c10);
/// empty when it can.
StringRef findFormObstacleToPush(CombineOp op);

/// Chooses how the kernel of `op` brings rows back. `op` may have a kernel.
AlgorithmChoice chooseAlgorithm(CombineOp op, const KernelRequest &request);

/// Why a dispatch of this form cannot expand rows (dispatch_c14), or has none
/// to expand; empty when it can.
StringRef findFormObstacleToExpand(DispatchOp op);

/// Why the kernel of a dispatch cannot expand rows; empty when it can.
std::string findObstacleToExpand(DispatchOp op, const KernelRequest &request);

/// Chooses how the kernel of `op`, which can expand rows, sends them.
DispatchAlgorithmChoice chooseAlgorithm(DispatchOp op,
                                        const KernelRequest &request);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_ALGORITHMPLAN_H
