//===- DispatchProtocol.h - what all dispatch schedules share ---*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHPROTOCOL_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHPROTOCOL_H

#include "ProtocolBuilder.h"

namespace mlir::moe {

/// The steps of a dispatch, for one token, row or key each. A schedule says who
/// executes them and in which order.
///
/// Rows for one destination are told apart by a *key*: the destination rank, or
/// the expert where rows are ordered by expert. Counting numbers the rows of
/// this rank per key; placing finds the row at which the rows of this rank with
/// a given key start on their destination; a row's final place is the sum of
/// the two. So every row is read once and stored once, and the order of rows
/// depends on the routing alone.
class DispatchProtocol {
public:
  using Output = DispatchOp::Output;

  DispatchProtocol(DispatchOp op, ProtocolBuilder &b);

protected:
  /// Whether rows of a sender are ordered by expert.
  bool keyIsExpert() {
    return op.isExpertMajor() || op.getOrder() == Order::expert;
  }
  int64_t numKeys() {
    return keyIsExpert() ? placement.numExperts : placement.numRanks;
  }
  /// Entries of `send_row` per token: ranks, or top-k slots.
  int64_t numSlots() { return op.isExpertMajor() ? topK : placement.numRanks; }
  bool isSlab() { return op.getLayout() == Layout::slab; }

  /// Defines `x`, `scales` and `numTokens`.
  void prepare();
  /// Allocates `expertOf` and `weightOf`.
  void allocateRouting();
  /// Fills one entry of them: checks the id (placement_s2) and merges repeated
  /// experts into their first occurrence (placement_s3).
  void routeSlot(Value token, Value k);

  /// First expert of `rank`, and the one after its last.
  std::pair<Value, Value> expertsOf(Value rank);
  /// Outputs of this rank, which owns `owned` experts with groups up to `end`,
  /// for experts that only larger ranks have.
  void storeSurplus(Value owned, Value end);
  /// dispatch_s9 with overflow = error: `rows` rows for `peer`.
  void checkCapacity(Value rows, Value peer);
  /// Rank and key of a row: what `slot` of `token` stands for.
  std::pair<Value, Value> peerAndKey(Value token, Value slot);
  /// Writes all that goes with a row for `peer` but the row itself to row `row`
  /// of the buffers that `at` gives.
  void storeMetadata(Value token, Value slot, Value peer, Value row,
                     llvm::function_ref<Value(Output)> at);
  /// The same, to the receiver.
  void putMetadata(Value token, Value slot, Value peer, Value row);

  DispatchOp op;
  ProtocolBuilder &b;
  ExpertPlacement placement;
  int64_t capacity;
  int64_t topK;

  Value x, scales; ///< with contiguous rows
  Value numTokens; ///< T
  Value expertOf;  ///< T×K: expert ids, repeated ones replaced by -1
  Value weightOf;  ///< T×K: their weights, those of repeats added up
  Value counts;    ///< 1×keys: rows of this rank per key
};

/// Without exact messages there are no blocks to keep (dispatch_s16).
void clearBlocks(DispatchOp op, ProtocolBuilder &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHPROTOCOL_H
