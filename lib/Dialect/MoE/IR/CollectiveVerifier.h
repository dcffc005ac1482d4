//===- CollectiveVerifier.h - what verifiers share --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The constraints of docs/Spec.md that several ops have. The verifiers cite
/// each by its label. What does not depend on the number of ranks is checked in
/// verify(), the rest once the grid is resolved, in verifySymbolUses().
///
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_MOE_IR_COLLECTIVEVERIFIER_H
#define MOE_MLIR_LIB_DIALECT_MOE_IR_COLLECTIVEVERIFIER_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include <limits>

namespace mlir::moe {

/// Rows are numbered in i32.
inline constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max();

/// Prints a shape as it stands in types: 128x?x2.
std::string toString(ArrayRef<int64_t> shape);

/// The outputs are results of tensor operands, or buffers beside memrefs.
LogicalResult verifyForm(CollectiveOpInterface op);

/// T and max_tokens: dispatch_c4, combine_c5.
LogicalResult verifyTokenBound(Operation *op, ShapedType tokens,
                               std::optional<uint64_t> maxTokens);

/// dispatch_c12: `recv_src_idx` numbers the tokens of all ranks. The product is
/// taken in 128 bits, which hold that of any two extents.
LogicalResult verifyRowNumbers(Operation *op, int64_t numRanks,
                               int64_t tokenBound);

/// group_c1, group_c2.
LogicalResult verifyGroup(CollectiveOpInterface op,
                          SymbolTableCollection &symbolTable,
                          int64_t &numRanks);

/// dispatch_c9, combine_c3, alltoallv_c1, alltoallv_c2.
LogicalResult verifyOutputTypes(CollectiveOpInterface op, int64_t numRanks);

/// dispatch_c17, combine_c12: the operands of `blocks`.
template <typename OpTy> LogicalResult verifyBlocks(OpTy op, int64_t numRanks) {
  Value blocks = op.getPeerBlocks(), rows = op.getPeerRows();
  if (static_cast<bool>(blocks) != static_cast<bool>(rows))
    return op.emitOpError("expects 'blocks' to be (peer_blocks, peer_rows), "
                          "both of the same dispatch");
  if (!blocks)
    return success();
  auto check = [&](StringRef name, Value value,
                   ArrayRef<int64_t> expected) -> LogicalResult {
    ArrayRef<int64_t> shape = cast<ShapedType>(value.getType()).getShape();
    if (shape == expected)
      return success();
    return op.emitOpError("expects '") << name << "' (" << toString(shape)
                                       << ") to be " << toString(expected);
  };
  return failure(failed(check("peer_blocks", blocks,
                              getPeerBlocksShape(numRanks, op.isExpertMajor(),
                                                 op.getNumExperts()))) ||
                 failed(check("peer_rows", rows, {4, numRanks})));
}

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_DIALECT_MOE_IR_COLLECTIVEVERIFIER_H
