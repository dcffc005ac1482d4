//===- MoEToColl.h - moe to coll conversion ------------------- -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_MOETOCOLL_MOETOCOLL_H
#define MOE_MLIR_CONVERSION_MOETOCOLL_MOETOCOLL_H

#include "moe-mlir/Conversion/SiteNumbers.h"

#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {

/// Lowerings of the memref forms of moe ops to coll, scf, memref and arith, for
/// ranks that exchange messages: as the work of one thread, or as `kernels` of
/// the shape each op says, with exchanges between them. `sites` has to hold
/// every collective op and to outlive the patterns.
void populateMoEToCollConversionPatterns(RewritePatternSet &patterns,
                                         const SiteNumbers &sites,
                                         bool kernels = false);

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_MOETOCOLL_MOETOCOLL_H
