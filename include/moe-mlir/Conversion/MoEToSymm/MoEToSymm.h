//===- MoEToSymm.h - moe to symm conversion ---------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_MOETOSYMM_MOETOSYMM_H
#define MOE_MLIR_CONVERSION_MOETOSYMM_MOETOSYMM_H

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/DenseMap.h"
#include <optional>

namespace mlir::moe {

/// Numbers of the collective ops of a module, in program order: what ranks
/// compare to find out that they run different collectives.
using SiteNumbers = llvm::DenseMap<Operation *, int64_t>;

/// Size of the kernels. The runtime launches fewer blocks when not all of them
/// fit on the device at the same time; kernels read the number they run with.
struct LaunchShape {
  int64_t blocks;
  int64_t threads;
};

/// Lowerings of the memref forms of moe ops to symm, scf, memref and arith: as
/// the work of one thread, or as kernels of the size `launch`. `sites` has to
/// hold every collective op and to outlive the patterns.
void populateMoEToSymmConversionPatterns(
    RewritePatternSet &patterns, const SiteNumbers &sites,
    std::optional<LaunchShape> launch = std::nullopt);

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_MOETOSYMM_MOETOSYMM_H
