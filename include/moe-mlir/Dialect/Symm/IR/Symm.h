//===- Symm.h - symm dialect ------------------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_SYMM_IR_SYMM_H
#define MOE_MLIR_DIALECT_SYMM_IR_SYMM_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

#include "moe-mlir/Dialect/Symm/IR/SymmDialect.h.inc"
#include "moe-mlir/Dialect/Symm/IR/SymmEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "moe-mlir/Dialect/Symm/IR/SymmAttributes.h.inc"
#define GET_OP_CLASSES
#include "moe-mlir/Dialect/Symm/IR/SymmOps.h.inc"

namespace mlir::symm {

/// Alignment, in bytes, of every symmetric buffer within the workspace.
inline constexpr int64_t kBufferAlignment = 256;

/// That of persistent buffers which are no larger: a cache line of GPUs.
inline constexpr int64_t kFlagAlignment = 128;

/// Unit attribute of a function whose buffers share memory with those of no
/// other one that may run at the same time.
inline constexpr llvm::StringLiteral kOwnWorkspaceAttrName =
    "symm.own_workspace";

/// Unit attribute of a function that several equal collectives call, and of its
/// argument (i32) that has the number of the one which calls.
inline constexpr llvm::StringLiteral kOutlinedAttrName = "symm.outlined";
inline constexpr llvm::StringLiteral kSiteAttrName = "symm.site";

/// Module attribute with the size of the symmetric workspace in bytes.
inline constexpr llvm::StringLiteral kWorkspaceBytesAttrName =
    "symm.workspace_bytes";

/// Whether `type` is a memref in `#symm.space`.
bool isSymmetric(Type type);

/// Whether `type` is a memref in the workgroup memory of a GPU kernel.
bool isStage(Type type);

/// Whether `op`, a kernel say, holds ops of this dialect.
bool holdsSymmOps(Operation *op);

} // namespace mlir::symm

#endif // MOE_MLIR_DIALECT_SYMM_IR_SYMM_H
