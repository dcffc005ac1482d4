//===- ReportParts.h - What parts of a report share -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_TARGET_DRIVER_REPORTPARTS_H
#define MOE_MLIR_LIB_TARGET_DRIVER_REPORTPARTS_H

#include "mlir/IR/Value.h"

namespace mlir::moe {

/// Bytes of a row of `value`: everything below the leading dimension.
int64_t getRowBytes(Value value);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_TARGET_DRIVER_REPORTPARTS_H
