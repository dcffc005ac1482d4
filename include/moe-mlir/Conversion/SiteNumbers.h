//===- SiteNumbers.h - numbers of collectives ----------------- -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_SITENUMBERS_H
#define MOE_MLIR_CONVERSION_SITENUMBERS_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::moe {

/// Numbers of the collective ops of a module, in program order: what ranks
/// compare to find out that they run different collectives.
using SiteNumbers = llvm::DenseMap<Operation *, int64_t>;

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_SITENUMBERS_H
