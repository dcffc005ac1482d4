//===- CombineProtocol.h - what all combine schedules share -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COMBINEPROTOCOL_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COMBINEPROTOCOL_H

#include "ProtocolBuilder.h"

namespace mlir::moe {

/// What a combine adds up, in which type, and in which order.
class CombineProtocol {
public:
  CombineProtocol(CombineOp op, ProtocolBuilder &b)
      : op(op),
        placement{static_cast<int64_t>(op.getNumExperts()), b.numRanks()},
        capacity(op.getY().getType().getDimSize(0)),
        rowLength(op.getY().getType().getDimSize(1)),
        element(op.getY().getType().getElementType()) {}

protected:
  /// Floating-point rows are added in f32, integers in their own type.
  Type sumElement() {
    return isa<FloatType>(element) ? Float32Type::get(element.getContext())
                                   : element;
  }

  /// Whether the rows that one rank holds are added up before those of ranks
  /// are (combine_s1), where that is another sum than that of all rows in turn:
  /// a rank has to hold several rows of a token, and they cannot be the first.
  bool addsByRank() {
    if (!op.isExpertMajor() || op.returnsRows() || !isa<FloatType>(element) ||
        placement.numRanks == 1)
      return false;
    // Products are rounded even where they are all that a rank adds up.
    return (placement.maxPerRank() > 1 && op.getNumSlots() > 2) ||
           (roundsPartials() && op.getWeights() && op.getNumSlots() > 1);
  }
  /// Whether the sum of the rows of a rank is rounded (combine_s8), where it is
  /// not of the element type.
  bool roundsPartials() { return op.roundsPartials() && !element.isF32(); }

  /// Most rows of a token on one rank.
  int64_t rowsPerRank() {
    return op.isExpertMajor()
               ? std::min(op.getNumSlots(), placement.maxPerRank())
               : 1;
  }
  /// What the sum of the rows of a rank is sent as, where ranks send it.
  Type partialElement() {
    bool isRow = op.getNumSlots() == 1 && !op.getWeights();
    return roundsPartials() || isRow ? element : sumElement();
  }
  /// Whether the only row of a token keeps its bits in a longer element
  /// (combine_s4).
  bool widensRows() { return !op.getWeights() && partialElement() != element; }

  /// What types leave open: as many rows as tokens.
  void checkArguments(ProtocolBuilder &b) {
    b.checkRowPerToken(op.getOut(), numTokens, "out");
    if (op.getTopk())
      b.checkRowPerToken(op.getTopk(), numTokens, "topk");
  }

  CombineOp op;
  ExpertPlacement placement;
  int64_t capacity;
  int64_t rowLength;
  Type element;
  Value numTokens; ///< T
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COMBINEPROTOCOL_H
