//===- PutShape.h - how rows are shared out to be put ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_PUTSHAPE_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_PUTSHAPE_H

#include "../MoEProtocols/KernelBuilder.h"

namespace mlir::moe {

/// Which subgroups put the rows of a combine that pushes, and in how many
/// parts.
struct PutShape {
  /// Part of what a rank puts for another one.
  struct Share {
    Value owner;  ///< the rank whose slots it is for
    Value number; ///< which of the owner's items: rows, or groups of tokens
    Value member; ///< which of the `team` parts of it
  };

  int64_t putters = 0; ///< subgroups of a block, which begin with that
  int64_t team = 1;    ///< shares of an item
  /// Whether each putter has one share at most, and all subgroups put.
  bool isOneRound = false;

  /// Ranks that a rank puts for: in one round its own rows stay in place.
  int64_t numOwners(KernelBuilder &b) const {
    return isOneRound ? b.numRanks() - 1 : b.numRanks();
  }

  /// `body(share)` for all shares of `items` items of each owner, on the
  /// subgroups that put: those of a subgroup's own in one round, by `tickets`
  /// otherwise. Each rank begins with the owner behind itself, so that no two
  /// ranks turn to the same one for long. There are none unless `haveBegun`.
  void forShares(KernelBuilder &b, Value tickets, Value epoch, Value items,
                 Value haveBegun,
                 llvm::function_ref<void(const Share &)> body) const;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_PUTSHAPE_H
