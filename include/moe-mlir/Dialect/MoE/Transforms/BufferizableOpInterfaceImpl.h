//===- BufferizableOpInterfaceImpl.h - bufferization of moe ops -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
#define MOE_MLIR_DIALECT_MOE_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace mlir::moe {

/// Teaches one-shot-bufferize the ops of the moe dialect: operands are read,
/// results are new buffers with identity layout, and the op becomes its memref
/// form. Also `tensor.scatter`, which upstream does not bufferize.
void registerBufferizableOpInterfaceExternalModels(DialectRegistry &registry);

void registerScatterBufferization(DialectRegistry &registry);

} // namespace mlir::moe

#endif // MOE_MLIR_DIALECT_MOE_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
