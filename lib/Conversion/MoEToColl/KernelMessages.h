//===- KernelMessages.h - messages between kernels --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELMESSAGES_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELMESSAGES_H

#include "../MoEProtocols/KernelBuilder.h"
#include "MessageBuilder.h"

namespace mlir::moe {

/// A KernelBuilder for ranks that exchange messages: the work of an op is
/// several kernels, none of which waits for another rank, and exchanges between
/// them.
class KernelMessages : public KernelBuilder, public MessageBuilder {
public:
  KernelMessages(CollectiveOpInterface op, OpBuilder &builder, int64_t site,
                 LaunchShape shape, MessageSchedule schedule)
      : KernelBuilder(op, builder, site, shape),
        MessageBuilder(op, *this, schedule) {}

  /// There is no memory that stays: words of one run, which begins at 1.
  Value counters(int64_t count) override;
  Value firstEpoch() { return i64(1); }

  Value allGatherCounts(Value counts) override { return allGather(counts); }

  /// In a kernel, in one block: `emit(item, row, rows)` for all items below
  /// `count`. Each has `rowsOf(item)` rows of a buffer, in which the rows of
  /// all follow one another; `row` is the first one. `emitTotal(rows)` is for
  /// the number of all.
  void layOut(Value count, llvm::function_ref<Value(Value)> rowsOf,
              llvm::function_ref<void(Value, Value, Value)> emit,
              llvm::function_ref<void(Value)> emitTotal = nullptr);
  /// The same in a padded buffer, where the rows of each rank have a place of
  /// their own: rank r has the items that `itemsOf(r)` says, [first, end).
  void layOutPadded(llvm::function_ref<std::pair<Value, Value>(Value)> itemsOf,
                    llvm::function_ref<Value(Value)> rowsOf,
                    llvm::function_ref<void(Value, Value, Value)> emit);
};

/// The tables of an exchange of rows. A kernel fills them; host code reads
/// them, and with that learns whether this rank has had an error. With padding
/// they are constants, and nothing is filled or read.
class KernelTables {
public:
  enum Field { SendStart, SendCount, RecvStart, RecvCount };

  /// Allocates them.
  explicit KernelTables(KernelMessages &b);

  /// In a kernel.
  void set(Field field, Value rank, Value value);
  /// Rows of the buffer that is sent from or received in, where that holds the
  /// rows of all ranks one behind the other.
  void setNumRows(Field start, Value value);

  /// Outside of kernels. Waits until those before are done.
  void read();
  Value numRows(Field start);
  /// Pairs of buffers: what is sent and what is received in.
  void exchange(ArrayRef<std::pair<Value, Value>> buffers);

private:
  Value row(Field field);

  KernelMessages &b;
  Value device, host; ///< 4×R
  Value sizes;        ///< 2: rows that are sent, and received
};

/// Lowerings, one file each.
void lowerDispatchToMessageKernels(DispatchOp op, KernelMessages &b);
void lowerCombineToMessageKernels(CombineOp op, KernelMessages &b);
void lowerAllToAllvToMessageKernels(AllToAllvOp op, KernelMessages &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELMESSAGES_H
