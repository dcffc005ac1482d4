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

/// How long messages of rows are.
struct MessageSchedule {
  /// All of them have room for the same number of rows, which is known when
  /// they are compiled: a device can exchange them without its CPU.
  bool isPadded = false;
  /// Rows from a rank to another one, at most, with `isPadded`; 0 for as many
  /// as there can be.
  int64_t pairCapacity = 0;
};

/// Lowerings of the memref forms of moe ops to coll, scf, memref and arith, for
/// ranks that exchange messages: as the work of one thread, or as `kernels` of
/// the shape each op says, with exchanges between them. `sites` has to hold
/// every collective op and to outlive the patterns.
void populateMoEToCollConversionPatterns(RewritePatternSet &patterns,
                                         const SiteNumbers &sites,
                                         bool kernels = false,
                                         MessageSchedule schedule = {});

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_MOETOCOLL_MOETOCOLL_H
