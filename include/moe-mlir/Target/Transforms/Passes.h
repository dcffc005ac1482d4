//===- Passes.h - Target passes ---------------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_TRANSFORMS_PASSES_H
#define MOE_MLIR_TARGET_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::moe {

/// Function attribute: the type that the function had as an entry, on tensors.
/// Those marked `moe.symmetric` have the encoding `#symm.space`.
inline constexpr llvm::StringLiteral kEntryAttrName = "moe.entry";

/// Encoding of those tensors of the entry's type, noted there, that lie in
/// memory of the host.
inline constexpr llvm::StringLiteral kHostEncoding = "host";

/// Function attribute: the name of an entry whose function was renamed.
inline constexpr llvm::StringLiteral kEntryNameAttrName = "moe.entry_name";

/// Function attribute: for each result of an entry, and each of its extents,
/// what is known of it before a call. A `DenseI64ArrayAttr` names an argument
/// and its extent, an `IntegerAttr` is the extent, a `UnitAttr` says nothing.
inline constexpr llvm::StringLiteral kResultExtentsAttrName =
    "moe.result_extents";

/// Module attribute: number of ranks the module is made for; 0 for any.
inline constexpr llvm::StringLiteral kRanksAttrName = "moe.ranks";

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "moe-mlir/Target/Transforms/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_TRANSFORMS_PASSES_H
