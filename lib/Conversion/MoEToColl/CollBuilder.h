//===- CollBuilder.h - exchanges of messages ------------------ -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_COLLBUILDER_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_COLLBUILDER_H

#include "MessageBuilder.h"

namespace mlir::moe {

/// A ProtocolBuilder for ranks that exchange messages.
class CollBuilder : public ProtocolBuilder, public MessageBuilder {
public:
  CollBuilder(CollectiveOpInterface op, OpBuilder &builder, int64_t site,
              MessageSchedule schedule)
      : ProtocolBuilder(op, builder, site),
        MessageBuilder(op, *this, schedule) {}

  Value allGatherCounts(Value counts) override { return allGather(counts); }
  Table table();
  /// `count` rows from `first` on, without those past `capacity` where that is
  /// given.
  std::pair<Value, Value> clip(Value first, Value count,
                               std::optional<int64_t> capacity);
  void copyRow(Value source, Value from, Value target, Value to);
};

/// Lowerings, one file each.
void lowerDispatchToColl(DispatchOp op, CollBuilder &b);
void lowerCombineToColl(CombineOp op, CollBuilder &b);
void lowerAllToAllvToColl(AllToAllvOp op, CollBuilder &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_COLLBUILDER_H
