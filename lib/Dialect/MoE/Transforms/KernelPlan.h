//===- KernelPlan.h - shape of the kernel of a moe op -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_KERNELPLAN_H
#define MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_KERNELPLAN_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include <optional>
#include <string>

namespace mlir::moe {

/// What the planner knows of a device.
struct KernelTarget {
  /// Multiprocessors: as many blocks run at once.
  int64_t processors;
  /// Whether it has bulk copies, and shared memory for their stages.
  bool hasBulkCopies;
};

/// Blocks from which on a combine by loads is as fast as one by bulk copies,
/// and rows that are pushed or expanded may gain.
inline constexpr int64_t kLoadingBlocks = 64;

/// The device behind a name like "sm_90"; nothing for other names.
std::optional<KernelTarget> getKernelTarget(StringRef chip);

/// Values that are pinned; 0, or nothing, for those to be chosen.
struct KernelRequest {
  int64_t blocks = 0;
  int64_t threads = 0;
  std::optional<Transfer> transfer;
  int64_t stages = 0;
  int64_t team = 0;
};

struct KernelChoice {
  KernelAttr kernel;
  /// Why rows move as they do.
  std::string reason;
  /// What was pinned and cannot be had, with what was taken instead.
  SmallVector<std::string> missed;
};

/// Chooses the kernel of `op`, in its memref form or its tensor form. The
/// request is one that some op on the target could take.
KernelChoice planKernel(CollectiveOpInterface op, const KernelTarget &target,
                        const KernelRequest &request);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_KERNELPLAN_H
