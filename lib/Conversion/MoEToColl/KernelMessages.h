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
  static constexpr int64_t kNumFields = 4;

  /// Allocates them; with `keepsRows` those of `kept` as well.
  explicit KernelTables(KernelMessages &b, bool keepsRows = false);
  /// Those of an earlier dispatch, its `peer_rows`; of a combine, which sends
  /// what the dispatch received, where that `isReturn`. Nothing is filled or
  /// read.
  KernelTables(KernelMessages &b, Value peerRows, bool isReturn)
      : b(b), host(peerRows), isReturn(isReturn) {}

  /// In a kernel.
  void set(Field field, Value rank, Value value);
  Value get(Field field, Value rank);

  /// Outside of kernels. Waits until those before are done.
  void read();
  /// Tables that later ops exchange rows by: filled in the same kernel, and
  /// read with these.
  KernelTables kept();
  /// Stores what was read to `peerRows`, memory of the host.
  void copyTo(Value peerRows);
  /// The end of the rows that are sent or received, as `start` says. Past
  /// `limit` there are none, or the entry ends with an error.
  Value numRows(Field start, std::optional<int64_t> limit = std::nullopt);
  /// Pairs of buffers: what is sent and what is received in.
  void exchange(ArrayRef<std::pair<Value, Value>> buffers);

private:
  Value row(Field field);

  KernelMessages &b;
  Value device, host; ///< 4×R, or 8×R with those that are kept
  Value ends[2];      ///< of rows that are sent, and received; null until asked
  int64_t firstField = 0;
  bool isReturn = false;
};

/// Lowerings, one file each.
void lowerDispatchToMessageKernels(DispatchOp op, KernelMessages &b);
void lowerCombineToMessageKernels(CombineOp op, KernelMessages &b);
void lowerAllToAllvToMessageKernels(AllToAllvOp op, KernelMessages &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELMESSAGES_H
