//===- CollBuilder.h - exchanges of messages ------------------ -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_COLLBUILDER_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_COLLBUILDER_H

#include "../MoEProtocols/ProtocolBuilder.h"
#include "moe-mlir/Conversion/MoEToColl/MoEToColl.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"

namespace mlir::moe {

/// A ProtocolBuilder for ranks that exchange messages.
class CollBuilder : public ProtocolBuilder {
public:
  CollBuilder(CollectiveOpInterface op, OpBuilder &builder, int64_t site,
              MessageSchedule schedule)
      : ProtocolBuilder(op, builder, site), schedule(schedule) {}

  /// Rows that each message has room for, where the most that a rank can send
  /// to another one is `most`; none when messages are as long as their rows.
  std::optional<int64_t> pairRows(int64_t most) const;

  /// First rows, and numbers of rows, of each rank: memref<Rxi32>.
  struct Table {
    Value starts, counts;
  };
  /// Rows of a pair of buffers in an exchange.
  struct Rows {
    Value send;
    Table from;
    Value recv;
    Table to;
  };

  Value allGatherCounts(Value counts) override;
  /// Sends row p of `send` to rank p; returns what comes from all.
  Value allToAll(Value send);
  void exchange(ArrayRef<Rows> rows);
  Table table();
  /// A buffer of `numRows` rows like those of `memref`.
  Value rowsLike(Value memref, Value numRows);
  /// `count` rows from `first` on, without those past `capacity` where that is
  /// given.
  std::pair<Value, Value> clip(Value first, Value count,
                               std::optional<int64_t> capacity);
  void copyRow(Value source, Value from, Value target, Value to);

private:
  MessageSchedule schedule;
};

/// Lowerings, one file each.
void lowerDispatchToColl(DispatchOp op, CollBuilder &b);
void lowerCombineToColl(CombineOp op, CollBuilder &b);
void lowerAllToAllvToColl(AllToAllvOp op, CollBuilder &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_COLLBUILDER_H
