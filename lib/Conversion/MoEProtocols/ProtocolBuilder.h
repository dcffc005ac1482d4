//===- ProtocolBuilder.h - phases of an exchange ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_PROTOCOLBUILDER_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_PROTOCOLBUILDER_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::moe {

/// What errors call the numbers that several ops check.
inline constexpr llvm::StringLiteral kRowsReceivedText =
    "rows received, bounded by the capacity";
inline constexpr llvm::StringLiteral kSendCountsText =
    "sum of send_counts up to this peer's, bounded by the rows of send";

/// Builds the lowering of one collective op: shorthands for index arithmetic
/// and loops, and the steps that the protocols have in common. Everything has
/// the location of the op.
class ProtocolBuilder : public ImplicitLocOpBuilder {
public:
  /// Starts the lowering of `op`: marks its begin and defines its rank.
  ProtocolBuilder(CollectiveOpInterface op, OpBuilder &builder, int64_t site);

  virtual ~ProtocolBuilder() = default;

  int64_t numRanks() const { return ranks; }
  /// Rank of this process.
  Value me() const { return rank; }

  //===--------------------------------------------------------------------===//
  // Arithmetic
  //===--------------------------------------------------------------------===//

  using Pred = arith::CmpIPredicate;

  Value index(int64_t value);
  Value i32(int64_t value);
  Value i64(int64_t value);
  /// A constant of integer type `type`.
  Value integer(Type type, int64_t value);
  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  Value cmp(Pred pred, Value x, Value y);
  Value both(Value x, Value y);
  Value select(Value condition, Value x, Value y);
  /// The smallest multiple of `multiple` that is not below `value`.
  Value alignUp(Value value, int64_t multiple);
  /// Conversions between index and i32, i64.
  Value toIndex(Value value);
  Value fromIndex(Value value, Type type);
  Value toI64(Value value);

  //===--------------------------------------------------------------------===//
  // Memory
  //===--------------------------------------------------------------------===//

  Value load(Value memref, ValueRange indices);
  /// Loads an integer as an index.
  Value loadIndex(Value memref, ValueRange indices);
  void store(Value value, Value memref, ValueRange indices);
  /// Stores an index in a memref of integers.
  void storeIndex(Value value, Value memref, ValueRange indices);
  void fill(Value memref, int64_t value);
  Value dim(Value memref, int64_t dim);
  /// A scratch buffer, freed by `end`.
  Value scratch(ArrayRef<int64_t> shape, Type elementType,
                ValueRange dynamicSizes = {});
  /// A symmetric buffer, freed by `end`.
  Value symmetric(ArrayRef<int64_t> shape, Type elementType);
  /// A symmetric buffer of the op's own, zero at first, that keeps its
  /// contents.
  Value persistent(ArrayRef<int64_t> shape, Type elementType);
  /// `memref` itself, or a scratch copy when its rows are not contiguous or its
  /// memory begins at an address that may not be a multiple of 16 bytes.
  Value withContiguousRows(Value memref);
  /// What rows are stored to in place of `memref`: itself, where its rows are
  /// contiguous and the first one is at a multiple of 16 bytes, or a scratch
  /// buffer, whose contents `copyBack` takes to it.
  Value withAlignedRows(Value memref);
  void copyBack(Value rows, Value memref);

  //===--------------------------------------------------------------------===//
  // Control
  //===--------------------------------------------------------------------===//

  void loop(Value from, Value to, llvm::function_ref<void(Value)> body);
  void loop(Value to, llvm::function_ref<void(Value)> body);
  void loop(int64_t to, llvm::function_ref<void(Value)> body);
  /// A loop that carries values; returns the final ones.
  SmallVector<Value>
  reduce(Value from, Value to, ValueRange init,
         llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
  /// All ranks, this one first, the others in the order that follows it: no two
  /// ranks turn to the same peer at the same time.
  void forEachPeer(llvm::function_ref<void(Value)> body);
  /// The `i`-th rank in that order.
  Value rotated(Value i);

  //===--------------------------------------------------------------------===//
  // Experts (placement_s1)
  //===--------------------------------------------------------------------===//

  /// The rank that owns expert `expert`.
  Value owner(Value expert, ExpertPlacement placement);
  /// The first expert of rank `rank`; for rank R, the number of experts.
  Value firstExpert(Value rank, ExpertPlacement placement);

  //===--------------------------------------------------------------------===//
  // Protocol
  //===--------------------------------------------------------------------===//

  void phase(StringRef name);
  /// What a check looks at: `seen`, which should be `least` (where that is
  /// given) to `most`, and the place in the op's input that it came from.
  struct Checked {
    Value most, seen;
    Value peer = {}, least = {}, token = {}, slot = {};
  };
  void check(Value condition, symm::Failure failure, StringRef what,
             const Checked &checked);
  void check(Value condition, symm::Failure failure, StringRef what, Value most,
             Value seen, Value peer = {}) {
    check(condition, failure, what, Checked{most, seen, peer});
  }
  /// Whether code runs on after a failed check. It then must not depend on what
  /// was checked.
  virtual bool continuesAfterCheck() const { return false; }
  /// `value` once `condition` is checked; `fallback` where code runs on.
  Value checked(Value condition, Value value, Value fallback);
  /// Checks that a dynamic number of tokens does not exceed the bound.
  Value checkedTokens(Value memref, int64_t bound, bool hasBound);
  /// Checks that `memref`, called `name`, has a row for each of `tokens`, and
  /// no more.
  void checkRowPerToken(Value memref, Value tokens, StringRef name);
  /// Flags of one synchronisation point of the op: a word per peer.
  Value flags();
  /// Those of its first signal. Ranks that are in different ops, be they equal,
  /// have different ones and wait in vain: kernels see nothing but flags.
  Value handshakeFlags();
  /// The epoch of this run of the op.
  Value epoch();
  void signalAll(Value flags);
  void waitAll(Value flags);
  void barrier();
  /// Brings row 0 of `counts` (1×G) to row `me` of a matrix (R×G) on every rank
  /// and waits until the matrix is complete; returns it.
  virtual Value allGatherCounts(Value counts);
  /// Of a matrix of counts, a row per sender: the sum of column `column` over
  /// the senders below this rank, and over all.
  std::pair<Value, Value> sumOfSenders(Value counts, Value column);
  /// Ends the op and frees scratch memory.
  void end();

private:
  Value scratchLike(Value memref);

  int64_t ranks;
  func::FuncOp outlined; ///< where the op has moved to; null where it has not
  Value rank;
  Value currentEpoch;
  SmallVector<Value> scratchBuffers;
  SmallVector<Value> symmetricBuffers;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_PROTOCOLBUILDER_H
