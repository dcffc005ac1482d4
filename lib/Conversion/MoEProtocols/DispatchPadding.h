//===- DispatchPadding.h - rows that no token is sent to --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHPADDING_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHPADDING_H

#include "ProtocolBuilder.h"

namespace mlir::moe {

/// What the rows of a receive buffer hold that no token is sent to, and which
/// rows these are (dispatch_s12). Each rank fills those of its own buffers, and
/// other ranks put the others, so that no row is written twice.
///
/// A rank that has counts knows the rows in advance: it fills them while it
/// waits for the others. With `reuse` there are no counts. Whoever puts a row
/// then notes the number of the run beside it, and rows without it are filled
/// when all ranks are done.
class DispatchPadding {
public:
  using Output = DispatchOp::Output;

  DispatchPadding(DispatchOp op, ProtocolBuilder &b);

  /// A buffer of rows, and what each element of an empty row is.
  struct Field {
    Value buffer;
    TypedAttr value;
    bool isPut; ///< whether `symm.put` and its like move its rows
  };
  SmallVector<Field> getFields();

  /// Allocates the runs of rows, for `reuse`; outside of a kernel.
  void allocateRuns();
  /// Takes a table of this rank's own for them, whatever numbers it has.
  void setRuns(Value table) { runs = table; }
  /// Notes that `row` of `peer` is put in run `epoch`.
  void noteRow(Value peer, Value row, Value epoch);
  /// Whether no rank has put `row` in run `epoch`; when all are done.
  Value isEmpty(Value row, Value epoch);

  /// The rows from `begin` to `end` that the buffers have.
  std::pair<Value, Value> inBuffers(Value begin, Value end);

  /// The work of one thread: fills the rows that the op's counts leave empty.
  void fillByCounts();
  /// The same with `reuse`.
  void fillByRuns(Value epoch);

private:
  void fillRows(Value begin, Value end);
  void fillRow(Value row);

  DispatchOp op;
  ProtocolBuilder &b;
  int64_t capacity;
  Value runs; ///< of each row, the run in which it was put last
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_DISPATCHPADDING_H
