//===- AllToAllvProtocol.h - what lowerings of alltoallv share  -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_ALLTOALLVPROTOCOL_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_ALLTOALLVPROTOCOL_H

#include "ProtocolBuilder.h"

namespace mlir::moe {

/// Checks that no count is negative and that they sum to no more than the
/// `numRows` rows of `send` (alltoallv_s4); copies them into a 1×R buffer for
/// the exchange.
Value checkedSendCounts(AllToAllvOp op, Value numRows, ProtocolBuilder &b);

/// From the counts of all ranks (R×R): checks the capacity of every rank,
/// writes `recv_counts`, and returns the first row of this rank on every other
/// one.
Value placeSentRows(AllToAllvOp op, Value all, ProtocolBuilder &b);

/// What both do in kernels, where code runs on after a failed check. Whether
/// the counts that this thread looks at are fine; the check names the first bad
/// one.
Value areSendCountsFine(AllToAllvOp op, Value numRows, ProtocolBuilder &b);

/// What the counts of all ranks say of rank `peer`: whether it is alive, and
/// has room for the rows that come to it, `total` in all (alltoallv_s5).
struct PeerCounts {
  Value isAlive, fits, total;
  /// Whether neither is a reason to put nothing.
  Value isFine;
};
PeerCounts countsOf(AllToAllvOp op, Value all, Value peer, Value total,
                    ProtocolBuilder &b);
/// Checks them, and writes what `peer` sends to this rank to `recv_counts`.
void checkCounts(AllToAllvOp op, Value all, Value peer,
                 const PeerCounts &counts, ProtocolBuilder &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_ALLTOALLVPROTOCOL_H
