//===- MemoryLowering.h - symmetric buffers and results to LLVM -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_SYMMTOLLVM_MEMORYLOWERING_H
#define MOE_LIB_CONVERSION_SYMMTOLLVM_MEMORYLOWERING_H

#include "mlir/IR/Builders.h"

namespace mlir {
class LLVMTypeConverter;
class RewritePatternSet;
} // namespace mlir

namespace mlir::moe {

Value createI64(OpBuilder &builder, Location loc, int64_t value);

/// `ptr` moved by `bytes`. The range of all ranks' workspaces is no object of
/// the generated code, so nothing is said about bounds.
Value createByteOffset(OpBuilder &builder, Location loc, Value ptr,
                       Value bytes);

/// Patterns for `symm.alloc`, `symm.alloc_result` and `symm.free`.
void populateSymmMemoryPatterns(const LLVMTypeConverter &converter,
                                RewritePatternSet &patterns);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_SYMMTOLLVM_MEMORYLOWERING_H
