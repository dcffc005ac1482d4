//===- SerialDispatch.h - a dispatch as the work of one thread  -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_SERIALDISPATCH_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_SERIALDISPATCH_H

#include "DispatchProtocol.h"

namespace mlir::moe {

/// The steps of a dispatch that one thread executes, up to where each row has a
/// place: all that does not depend on how rows get there.
class SerialDispatch : public DispatchProtocol {
protected:
  using DispatchProtocol::DispatchProtocol;

  /// Where a row goes.
  struct RowPlace {
    Value token, slot;
    Value peer;
    Value key; ///< with `reuse` the peer where rows are not ordered by expert
    Value row; ///< on the peer
  };

  void route();
  void count();
  /// Tells all ranks the counts of this one; returns those of all, a row for
  /// each sender.
  Value exchangeCounts();
  /// Fills `start`, and the results that counts tell, from all counts.
  void place(Value all);
  /// slab: fills `start`, which takes no counts.
  void placeInSlabs();

  /// `move` for every row that is sent; turns `send_row` from numbers into
  /// rows.
  void forEachRow(llvm::function_ref<void(const RowPlace &)> move);
  /// The same with `reuse`, where `send_row` says where rows go
  /// (dispatch_s10). Checks that, unless it `isChecked`.
  void forEachReusedRow(bool isChecked,
                        llvm::function_ref<void(const RowPlace &)> move);

  /// Writes the lists of dispatch_s14, when all rows of this rank are there.
  void listRows();

  Value start; ///< keys: first row of this rank on the destination

private:
  /// `body(row)` for all rows that have been received, in ascending order.
  void forEachReceived(llvm::function_ref<void(Value)> body);
  void allocateStart();
  void placeByRank(Value all);
  void placeByExpert(Value all);
  /// Lays out the groups of experts first .. last - 1, those of one rank
  /// (dispatch_s4); calls `emit(expert, first row, rows)` for each. Returns the
  /// end of the last group, and of the last one that has rows.
  std::pair<Value, Value>
  placeGroups(Value first, Value last, llvm::function_ref<Value(Value)> rowsOf,
              llvm::function_ref<void(Value, Value, Value)> emit);
  /// Sum of `count(expert)` over the experts of `rank`.
  Value sumOverExpertsOf(Value rank, llvm::function_ref<Value(Value)> count);
  /// Writes `n_tokens_to_rank` of `peer` from `counts`.
  void storeTokensToRank(Value peer);
  /// `body(token, slot)` for all slots; ranks in rotated order.
  void forEachSlot(llvm::function_ref<void(Value, Value)> body);
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_SERIALDISPATCH_H
