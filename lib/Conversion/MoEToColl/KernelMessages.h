//===- KernelMessages.h - messages between kernels --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELMESSAGES_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_KERNELMESSAGES_H

#include "../MoEToSymm/KernelBuilder.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"

namespace mlir::moe {

/// A KernelBuilder for ranks that exchange messages: the work of an op is
/// several kernels, none of which waits for another rank, and exchanges between
/// them.
class KernelMessages : public KernelBuilder {
public:
  using KernelBuilder::KernelBuilder;

  /// There is no memory that stays: words of one run, which begins at 1.
  Value counters(int64_t count) override;
  Value firstEpoch() { return i64(1); }

  Value allGatherCounts(Value counts) override;
  /// Sends row p of `send` to rank p; returns what comes from all.
  Value allToAll(Value send);
  /// A buffer of `numRows` rows like those of `memref`.
  Value rowsLike(Value memref, Value numRows);
};

/// The tables of an exchange of rows. A kernel fills them; host code reads
/// them, and with that learns whether this rank has had an error.
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
