//===- MoEToSymm.h - moe to symm conversion ---------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_MOETOSYMM_MOETOSYMM_H
#define MOE_MLIR_CONVERSION_MOETOSYMM_MOETOSYMM_H

#include "moe-mlir/Conversion/SiteNumbers.h"

#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {

/// Lowerings of the memref forms of moe ops to symm, scf, memref and arith: as
/// the work of one thread, or as `kernels` of the shape each op says. `sites`
/// has to hold every collective op and to outlive the patterns.
void populateMoEToSymmConversionPatterns(RewritePatternSet &patterns,
                                         const SiteNumbers &sites,
                                         bool kernels = false);

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_MOETOSYMM_MOETOSYMM_H
