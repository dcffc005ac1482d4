//===- GroupSleep.cpp - ranks that sleep until another one wakes them -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A signal is a store of generated code, which wakes nobody. So a rank that
/// goes to sleep says for which flag of its own and for which rank, and leaves
/// a mark with that rank. Who signals calls into the runtime soon after, mostly
/// for a wait of its own, and then wakes those whose flags have come. Both
/// sides reach the word of marks by read-modify-write: the one that leaves its
/// mark and then looks at the flag, and the one that signals and then looks for
/// marks. So whoever comes later sees what the other one did before. A rank
/// that is not woken in spite of that wakes by itself.
///
//===----------------------------------------------------------------------===//

#include "ControlBlock.h"
#include "moe-runtime/Futex.h"
#include "moe-runtime/GroupControl.h"

using namespace moe::rt;

static void wake(RankBlock &sleeper) { futexWake(sleeper.wakeups); }

/// The mark that rank `rank` leaves; ranks share marks where there are many.
static uint64_t markOf(int rank) { return uint64_t(1) << (rank % 64); }

bool GroupControl::sleep(int peer, const AwaitedFlag &flag,
                         const std::function<bool()> &isThere, int64_t mostNs) {
  RankBlock &mine = block(myRank);
  mine.awaitedOffset.store(flag.offset, std::memory_order_relaxed);
  mine.awaitedValue.store(flag.value, std::memory_order_relaxed);
  // Against nameOrigin in the same way, with the error in place of the flag.
  mine.awaitedRank.exchange(uint32_t(peer) + 1, std::memory_order_acq_rel);
  uint32_t before = mine.wakeups.load(std::memory_order_acquire);
  block(peer).sleepers.fetch_or(markOf(myRank), std::memory_order_acq_rel);
  bool isWoken =
      isThere() || originRank() >= 0 || futexWait(mine.wakeups, before, mostNs);
  mine.awaitedRank.store(0, std::memory_order_release);
  return isWoken;
}

void GroupControl::wakeSleepers(
    const std::function<bool(int, const AwaitedFlag &)> &isThere) {
  RankBlock &mine = block(myRank);
  if (mine.sleepers.fetch_or(0, std::memory_order_acq_rel) == 0)
    return;
  uint64_t marks = mine.sleepers.exchange(0, std::memory_order_acq_rel);
  uint64_t kept = 0;
  for (uint64_t left = marks; left != 0; left &= left - 1)
    for (int rank = __builtin_ctzll(left); rank < groupSize; rank += 64) {
      RankBlock &other = block(rank);
      if (other.awaitedRank.load(std::memory_order_acquire) !=
          uint32_t(myRank) + 1)
        continue;
      AwaitedFlag flag{other.awaitedOffset.load(std::memory_order_relaxed),
                       other.awaitedValue.load(std::memory_order_relaxed)};
      if (isThere(rank, flag))
        wake(other);
      else
        kept |= markOf(rank);
    }
  if (kept != 0)
    mine.sleepers.fetch_or(kept, std::memory_order_release);
}

bool moe::rt::nameOrigin(ControlMemory &memory, int rank) {
  uint64_t none = 0;
  if (!memory.group().origin.compare_exchange_strong(none, uint64_t(rank) + 1,
                                                     std::memory_order_acq_rel))
    return false;
  for (int r = 0; r < memory.size; ++r) {
    RankBlock &other = memory.ranks()[r];
    if (other.awaitedRank.fetch_or(0, std::memory_order_acq_rel) != 0)
      wake(other);
  }
  return true;
}
