//===- KernelBuilder.h - kernels of an exchange -----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_KERNELBUILDER_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_KERNELBUILDER_H

#include "ProtocolBuilder.h"
#include "moe-mlir/Conversion/KernelShape.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

#include <limits>

namespace mlir::moe {

/// Whether rows of `type` can be moved by bulk copies: their size and addresses
/// are multiples of 16 bytes.
bool allowsBulkCopies(MemRefType type);
/// Bytes of a row of `type`.
int64_t getRowBytes(MemRefType type);
/// Elements that a lane moves at a time: 16 bytes, or as many as rows of
/// `rowBytes` bytes, one behind the other, are aligned to.
int64_t getVectorLength(int64_t rowBytes, int64_t elementBytes);

/// Whether the subgroups of a kernel may take so many items by tickets: lanes
/// exchange 32 bits, and each subgroup takes one number too many.
inline bool canTake(const LaunchShape &shape, int64_t items) {
  int64_t subgroups = shape.blocks * (shape.threads / kSubgroupSize);
  return items + subgroups <= std::numeric_limits<int32_t>::max();
}

/// The shape that the kernels of `op` are to have.
LaunchShape getLaunchShape(CollectiveOpInterface op);
/// Whether there are kernels for `op`; an error if not. Where ranks cannot
/// reach each other's memory, combines do not push and dispatches not expand.
LogicalResult checkHasKernel(CollectiveOpInterface op,
                             bool sharesMemory = true);

/// Builds the kernel of one collective op: a ProtocolBuilder whose steps inside
/// `launch` are executed by a grid of blocks that all run at the same time.
class KernelBuilder : public ProtocolBuilder {
public:
  KernelBuilder(CollectiveOpInterface op, OpBuilder &builder, int64_t site,
                LaunchShape shape)
      : ProtocolBuilder(op, builder, site), shape(shape) {}

  bool continuesAfterCheck() const override { return true; }

  const LaunchShape &launchShape() const { return shape; }
  int64_t maxBlocks() const { return shape.blocks; }
  int64_t numSubgroups() const { return shape.threads / kSubgroupSize; }

  /// Emits the launch; `body` builds what each thread does. A block has
  /// `stageBytes` bytes for stages.
  void launch(int64_t stageBytes, llvm::function_ref<void()> body);

  //===--------------------------------------------------------------------===//
  // Inside the kernel
  //===--------------------------------------------------------------------===//

  Value block() const { return blockId; }
  Value numBlocks() const { return gridDim; }
  Value thread() const { return threadId; }
  Value subgroup() const { return subgroupId; }
  Value lane() const { return laneId; }

  /// This block's share of 0 .. total - 1: [first, end).
  std::pair<Value, Value> blockRange(Value total);
  /// `body(i)` for all i < total, spread over the threads of the block.
  void forThreads(Value total, llvm::function_ref<void(Value)> body);
  /// `body(i)` for all from <= i < to, spread over the subgroups of the block;
  /// all lanes of a subgroup see the same i.
  void forSubgroups(Value from, Value to, llvm::function_ref<void(Value)> body);
  /// The same, spread over teams of the first `subgroups` of the block, which
  /// alone execute it: `body(i, member)` on every subgroup of a team, whose
  /// number in it is `member`.
  void forTeams(Value from, Value to, int64_t subgroups,
                llvm::function_ref<void(Value, Value)> body);
  void step(Value from, Value to, Value step,
            llvm::function_ref<void(Value)> body);
  /// The body of `loop` is to stand in the code once, however few times it is
  /// executed: what ptxas finds in a row it mixes, in more registers than there
  /// are.
  void keepInTurn(scf::ForOp loop);
  /// What a subgroup begins with: its first item, which may be the total or
  /// more, and how many items all of them begin with.
  struct FirstItem {
    Value item, begun;
  };
  /// `body(i)` for all i < total, one at a time, as subgroups of any block get
  /// to them. `tickets` are those of `ticketCounters`, reset by `resetTickets`
  /// in each run.
  void forTickets(Value tickets, Value epoch, Value total, FirstItem first,
                  llvm::function_ref<void(Value)> body);
  /// The same, where all subgroups begin with an item of their own.
  void forTickets(Value tickets, Value epoch, Value total,
                  llvm::function_ref<void(Value)> body) {
    forTickets(tickets, epoch, total, ownItems(numSubgroups()), body);
  }
  /// The first `subgroups` of each block begin with an item of their own each;
  /// no others take part.
  FirstItem ownItems(int64_t subgroups);
  /// They begin with what is left, whenever they come.
  FirstItem takenItems(Value tickets, Value epoch);
  /// The same with values that a subgroup carries from item to item, at first
  /// `init`: `body(i, carried, next)` returns those for the item `next()`,
  /// which may be `total` or more.
  void
  forTickets(Value tickets, Value epoch, Value total, FirstItem first,
             ValueRange init,
             llvm::function_ref<SmallVector<Value>(Value, ValueRange,
                                                   llvm::function_ref<Value()>)>
                 body);
  bool canTake(int64_t items) const { return moe::canTake(shape, items); }
  void onThread(Value index, llvm::function_ref<void()> body);
  /// On one lane of each subgroup.
  void onFirstLane(llvm::function_ref<void()> body);
  /// What concerns the rank as a whole: the threads of one block do it.
  void onFirstBlock(llvm::function_ref<void()> body);
  /// `body(peer)` for all ranks, one thread each, in rotated order.
  void forPeers(llvm::function_ref<void(Value)> body);
  /// The same on the last subgroup, which has less to do than the first.
  void forPeersAside(llvm::function_ref<void(Value)> body);

  /// From here on threads find out anew who they are: compilers would keep what
  /// was computed from that before, in registers that what lies between needs.
  /// For the top level of a kernel in which errors are tracked.
  void forgetIds();

  void syncBlock();
  /// Meets the block; whether `condition` holds on all of its threads.
  Value syncBlockAll(Value condition);
  void syncSubgroup();

  //===--------------------------------------------------------------------===//
  // Runs
  //===--------------------------------------------------------------------===//

  /// `count` words (i64) that blocks of this rank share, zero before the first
  /// run. Outside the kernel.
  virtual Value counters(int64_t count) {
    return persistent({count}, getI64Type());
  }
  /// Words of all blocks; each block writes its own, and so none waits for
  /// another. Outside the kernel.
  Value runCounters() { return counters(maxBlocks()); }
  Value blockFlags() {
    return persistent({numRanks() * maxBlocks()}, getI64Type());
  }
  /// What `forTickets` counts in: a run resets what the next one uses. Outside
  /// the kernel.
  Value ticketCounters() { return counters(2); }
  void resetTickets(Value tickets, Value epoch);
  /// The epoch of this run, which `runs` counts.
  Value beginRun(Value runs);
  /// Counts it; when all threads of the block have begun it.
  void endRun(Value runs, Value epoch);
  /// From here on the peers learn of this block's errors, with the signals at
  /// its end. The block has to meet before `noteError` is used.
  void trackErrors();
  void noteError(Value isFine);
  /// Whether none is known in this block, where errors are tracked: the same
  /// answer on all lanes of a subgroup.
  Value hasNoError();
  /// Waits until all ranks have signalled `epoch` in `flags` (a word per rank):
  /// the last subgroup does. Returns, on each of its threads, whether the ranks
  /// it looked at have; true on all others. Of interest when the block has met:
  /// see `syncBlockAll`.
  Value waitForPeers(Value flags, Value epoch);
  /// An entry of `send_row`, checked: -1 for one that is not below `capacity`.
  Value checkedSendRow(Value row, int64_t capacity, Value token, Value slot);
  /// Meets the block, then tells all ranks that it is done, and whether without
  /// errors, which have to be tracked. Release order.
  void signalFromBlock(Value flags, Value epoch);
  /// Until the blocks of all ranks that have this block's words are done, and
  /// so, over all blocks, until all are. Checks that they had no errors.
  void waitForBlocks(Value flags, Value epoch);
  /// The same on every block for all of them: it need not meet the others to
  /// see what they have received. Returns, on each thread, whether the blocks
  /// that it looked at are done.
  Value waitForAllBlocks(Value flags, Value epoch);
  /// Whether a thread waits for two of them at most: a wait takes a way to
  /// memory, and to meet takes two.
  bool canWaitForAllBlocks() const {
    return numRanks() * maxBlocks() <= 2 * shape.threads;
  }

  //===--------------------------------------------------------------------===//
  // Memory of a block
  //===--------------------------------------------------------------------===//

  /// A buffer that the threads of a block share, and no other block sees.
  Value workgroup(ArrayRef<int64_t> shape, Type elementType);
  /// Stages in the launch's memory, from byte `offset` (an index) on.
  Value stages(ArrayRef<int64_t> shape, Type elementType, Value offset);

  //===--------------------------------------------------------------------===//
  // Lanes of a subgroup (KernelLanes.cpp)
  //===--------------------------------------------------------------------===//

  /// i32 mask of the lanes on which `condition` holds; all lanes take part.
  Value ballot(Value condition);
  /// Number of set bits of `mask`, as an index.
  Value countBits(Value mask);
  /// Those bits of `mask` that belong to lanes below this one.
  Value bitsBelow(Value mask);
  /// The lowest set bit of `mask` (i32), as an index; 0 when there is none.
  Value lowestBit(Value mask);
  /// The highest one; 31 when there is none.
  Value highestBit(Value mask);
  /// `body(bit)` for the set bits of `mask` (i32), from the lowest on, as
  /// indices; one after the other, whatever is known of the mask.
  void forBits(Value mask, llvm::function_ref<void(Value)> body);
  /// The value of `value` on lane `lane` (index); an index is less than 2^31.
  Value shuffle(Value value, Value lane);
  /// Sum of `value` (index, less than 2^31) over the lanes below this one.
  Value sumOfLanesBelow(Value value);
  /// Sum of `value` (index, less than 2^31) over the lanes of the subgroup.
  Value sumOverLanes(Value value);
  /// `body(i, isItem, carried)` for all first <= i < last, 32 at a time, one on
  /// each lane; `isItem` is false on lanes past the end, which look at the
  /// first one. Returns what is carried at the end.
  SmallVector<Value> reduceInLanes(
      Value first, Value last, ValueRange init,
      llvm::function_ref<SmallVector<Value>(Value, Value, ValueRange)> body);
  /// `emit(i, before, value)` for all first <= i < last, on one lane each,
  /// where `before` is `init` and the values of smaller i, added up. Returns
  /// the sum of all, on all lanes of the subgroup.
  Value scanInLanes(Value first, Value last, Value init,
                    llvm::function_ref<Value(Value)> value,
                    llvm::function_ref<void(Value, Value, Value)> emit);

private:
  /// `body(word)` for the words of this block. A grid with fewer blocks than
  /// there are words shares them out.
  void forOwnWords(llvm::function_ref<void(Value)> body);
  /// Until the block of rank `peer` that has word `word` is done, and so the
  /// word is `value` or more. Returns the word.
  Value waitForBlock(Value flags, Value word, Value peer, Value value);
  void setIds(Value block, Value blocks, Value thread);
  Value ticketWord(Value epoch);
  /// On the first lane, the next number; of no meaning on the others.
  Value takeTicket(Value tickets, Value epoch);

  LaunchShape shape;
  Value status; ///< of this block, where errors are tracked: 1 after one
  gpu::LaunchOp kernel;
  Value blockId, gridDim, threadId, subgroupId, laneId;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_KERNELBUILDER_H
