//===- MoE.h - moe dialect --------------------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_MOE_H
#define MOE_MLIR_DIALECT_MOE_IR_MOE_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::moe {

/// Unit attribute of arguments and results of entries: they are symmetric
/// memory (symmetric_c1).
inline constexpr llvm::StringLiteral kSymmetricAttrName = "moe.symmetric";

/// Unit attribute of arguments and results of entries: they lie in memory of
/// the host, whatever the target (host_c1).
inline constexpr llvm::StringLiteral kHostAttrName = "moe.host";

/// Largest supported top-k.
inline constexpr int64_t kMaxTopK = 32;

/// Most stages of a kernel that moves rows by bulk copies.
inline constexpr int64_t kMaxStages = 32;

/// Number of ranks of the `shard.grid` that `grid` names as seen from `op`; 0
/// when there is no such grid, or it has not one static dimension.
int64_t getNumRanks(Operation *op, FlatSymbolRefAttr grid);

/// Blocks of experts per rank (placement_s1).
struct ExpertPlacement {
  int64_t numExperts;
  int64_t numRanks;

  /// Experts that every rank owns at least.
  int64_t base() const { return numExperts / numRanks; }
  /// The first this many ranks own one more.
  int64_t remainder() const { return numExperts % numRanks; }
  /// EL: the most experts that any rank owns.
  int64_t maxPerRank() const { return base() + (remainder() != 0); }
};

/// The shape of `peer_blocks` (dispatch_s16).
SmallVector<int64_t> getPeerBlocksShape(int64_t numRanks, bool isExpertMajor,
                                        uint64_t numExperts);

} // namespace mlir::moe

#include "moe-mlir/Dialect/MoE/IR/MoEDialect.h.inc"
#include "moe-mlir/Dialect/MoE/IR/MoEEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "moe-mlir/Dialect/MoE/IR/MoEAttributes.h.inc"
// After the attributes, which its methods return.
#include "moe-mlir/Dialect/MoE/IR/MoEInterfaces.h.inc"
#define GET_OP_CLASSES
#include "moe-mlir/Dialect/MoE/IR/MoEOps.h.inc"

#endif // MOE_MLIR_DIALECT_MOE_IR_MOE_H
