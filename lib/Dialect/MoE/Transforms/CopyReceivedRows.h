//===- CopyReceivedRows.h - rows that leave symmetric memory --*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_TRANSFORMS_COPYRECEIVEDROWS_H
#define MOE_LIB_DIALECT_MOE_TRANSFORMS_COPYRECEIVEDROWS_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/Builders.h"

namespace mlir::moe {

/// A buffer of `outs`, and the symmetric one that the op writes instead.
struct StagedBuffer {
  Value symmetric;
  Value buffer;
};

/// Emits copies of what `op` has received: of the valid rows, where an operand
/// tells which they are, and otherwise of all.
void copyReceivedRows(CollectiveOpInterface op, ArrayRef<StagedBuffer> staged,
                      OpBuilder &builder);

} // namespace mlir::moe

#endif // MOE_LIB_DIALECT_MOE_TRANSFORMS_COPYRECEIVEDROWS_H
