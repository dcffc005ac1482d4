//===- SerialCombine.h - a combine as the work of one thread -- -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_SERIALCOMBINE_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_SERIALCOMBINE_H

#include "CombineProtocol.h"

namespace mlir::moe {

/// The reduction of a combine as one thread executes it: for each token, list
/// its rows in the order of combine_s1, then add them. Where a row lies by then
/// is the only thing that differs.
class SerialCombine : public CombineProtocol {
public:
  SerialCombine(CombineOp op, ProtocolBuilder &b)
      : CombineProtocol(op, b), b(b) {}
  virtual ~SerialCombine() = default;

protected:
  /// An entry of the list.
  struct ListedRow {
    Value key;  ///< the expert with expert_major, otherwise the peer
    Value peer; ///< the rank that holds the row
    Value row;  ///< its number there
  };
  /// Where its values are.
  struct Row {
    Value data;   ///< the buffer that holds it
    Value row;    ///< its number there
    Value weight; ///< null without weights
  };

  /// Allocates what a token's rows are listed in and added up in.
  void allocate();
  void reduceTokens();
  /// Lists the rows of `token` by expert; returns their number.
  Value listRowsByExpert(Value token);
  ListedRow listed(Value i);
  /// Where the `i`-th listed row of `token` lies.
  virtual Row rowAt(Value token, Value i) = 0;
  /// An entry of `send_row`.
  virtual Value sendRowAt(Value token, Value slot) {
    return checkedRow(token, slot);
  }
  /// The same, checked (combine_s5).
  Value checkedRow(Value token, Value slot);
  /// One value of a row as it enters the sum.
  Value loadTerm(const Row &row, Value column);
  Value addTerms(Value x, Value y);
  /// A value of the sum of the rows of a rank, as it enters the sum of ranks.
  Value roundPartial(Value value);
  /// Stores a value of a sum, rounded.
  void storeSum(Value value, ValueRange place, Value column);
  void storeOut(Value value, ValueRange place, Value column);
  void storeZeros(ValueRange place);

  ProtocolBuilder &b;
  Value sum; ///< H values

private:
  /// Stores what the listed rows of `token` make to `place` of `out`.
  void reduceListed(Value token, Value numRows, ValueRange place);
  Value listRows(Value token);
  Value listRowOfSlot(Value token, Value slot);
  void addRows(Value token, Value numRows, ValueRange place);
  /// Adds the second listed row and those after it to the sum.
  void addInTurn(Value token, Value numRows);
  /// The same, where rows of a rank are added up first; what the last rank has
  /// is left in `partial`.
  void addByRank(Value token, Value numRows);
  void copyRow(Value token, ValueRange place);
  Value loadPartial(Value column);

  Value listKey, listRow; ///< rows of the current token
  Value partial;          ///< like `sum`, of one rank; null where not needed
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_SERIALCOMBINE_H
