//===- OutlineCollectives.h - One function for equal ops --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_OUTLINECOLLECTIVES_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_OUTLINECOLLECTIVES_H

#include "moe-mlir/Conversion/SiteNumbers.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {

/// Marks the argument of an outlined function which is the first flags of its
/// op.
inline constexpr llvm::StringLiteral kHandshakeAttrName = "symm.handshake";

/// Whether the lowering of `op` may take the memory of an operand to begin at a
/// multiple of 16 bytes only if it sees where that comes from: a `memref.view`
/// may begin anywhere.
bool beginsAligned(Value memref);

/// Marks the start of `op`, of which `site` is the number; the mark has the
/// text of its attributes.
void createCollectiveBegin(OpBuilder &builder, Operation *op, int64_t site);

/// The function that `outlineCollectives` has moved `op` to; null when it
/// stands where it stood.
func::FuncOp getOutlinedFunction(Operation *op);
/// The argument of an outlined function that has the attribute `name`; null
/// without one.
Value getMarkedArgument(func::FuncOp function, StringRef name);

/// What a function is handed beside the operands of an op.
struct OutlinedArguments {
  bool site = false;      ///< the number of the op, for kernels
  bool handshake = false; ///< the first flags of the op
};

/// Moves collectives that are equal but for the buffers they work on, of which
/// `sites` has the numbers, to one function for each kind, and calls it in
/// their places. What an op keeps from run to run is then there once for all of
/// its kind, as for an op in a loop.
void outlineCollectives(ModuleOp module, const SiteNumbers &sites,
                        OutlinedArguments arguments);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_OUTLINECOLLECTIVES_H
