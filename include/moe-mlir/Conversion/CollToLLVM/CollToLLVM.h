//===- CollToLLVM.h - coll dialect to LLVM dialect ------------ -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_COLLTOLLVM_COLLTOLLVM_H
#define MOE_MLIR_CONVERSION_COLLTOLLVM_COLLTOLLVM_H

namespace mlir {
class LLVMTypeConverter;
class RewritePatternSet;
} // namespace mlir

namespace mlir::moe {

/// Patterns that lower all coll ops to calls of the runtime. With `hasDevice`
/// buffers are memory of a device.
void populateCollToLLVMConversionPatterns(const LLVMTypeConverter &converter,
                                          RewritePatternSet &patterns,
                                          bool hasDevice = false);

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_COLLTOLLVM_COLLTOLLVM_H
