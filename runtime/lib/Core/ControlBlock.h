//===- ControlBlock.h - memory of the control plane -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// All fields are atomics that need no lock, so that they work between
/// processes, and a fresh block is all zeros. Texts are copied in words; a
/// text that is read while it changes may be torn, which only a message sees.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_CONTROLBLOCK_H
#define MOE_RUNTIME_LIB_CORE_CONTROLBLOCK_H

#include "moe-runtime/Status.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <sys/mman.h>

namespace moe::rt {

static_assert(std::atomic<uint64_t>::is_always_lock_free);

/// Up to N - 1 characters.
template <size_t N> class SharedText {
  static_assert(N % 8 == 0);

public:
  void store(const char *text, size_t length) {
    length = std::min(length, N - 1);
    for (size_t i = 0; i <= length / 8; ++i) {
      char chunk[8] = {};
      std::memcpy(chunk, text + i * 8, std::min<size_t>(8, length - i * 8));
      uint64_t word;
      std::memcpy(&word, chunk, 8);
      words[i].store(word, std::memory_order_relaxed);
    }
  }
  void store(const char *text) { store(text, std::strlen(text)); }
  void store(const std::string &text) { store(text.data(), text.size()); }

  std::string load() const {
    char text[N + 1] = {};
    for (size_t i = 0; i < N / 8; ++i) {
      uint64_t word = words[i].load(std::memory_order_relaxed);
      std::memcpy(text + i * 8, &word, 8);
      if (std::memchr(text + i * 8, 0, 8))
        break;
    }
    return text;
  }

private:
  std::atomic<uint64_t> words[N / 8];
};

/// An error that other ranks read. The details are of ErrorDetails.h.
template <size_t N> struct SharedError {
  std::atomic<uint64_t> code;
  SharedText<N> message;
  SharedText<512> details;

  void store(const Status &status) {
    code.store(status.code(), std::memory_order_release);
    message.store(status.message());
    details.store(status.isOk() ? "" : encodeDetails(status.details(), 511));
  }
  Status load() const {
    auto number = static_cast<moert_code>(code.load(std::memory_order_acquire));
    return Status(number, message.load()).detailed([&](ErrorDetails &known) {
      known = decodeDetails(details.load());
    });
  }
};

enum class RankState : uint32_t {
  Joining = 0,
  Idle,
  InGroupOp,
  InCollective,
  OnDevice, ///< the host's part of a call is over, its device's may not be
  Left
};

/// What has become of a rank, as far as another one sees it.
enum class RankFate : uint32_t {
  Well = 0,
  Died, ///< its process, which the leader of its host has seen
  Lost  ///< its host is not heard of
};

/// The n-th group operation of a rank lies at n modulo the ring's size. A
/// reader takes it for valid when `ordinal` is n before and after.
struct GroupOpRecord {
  std::atomic<uint64_t> ordinal;
  std::atomic<uint64_t> kind;
  std::atomic<uint64_t> hash;
  /// Collectives that had begun when the operation did, and when no more were
  /// to come in it.
  std::atomic<uint64_t> collectivesBefore;
  std::atomic<uint64_t> collectivesAfter;
  SharedText<1024> text;
  SharedError<512> localError;
};

struct CollectiveRecord {
  std::atomic<uint64_t> ordinal;
  std::atomic<uint64_t> site;
  std::atomic<uint64_t> artifact;
  std::atomic<uint64_t> groupOp; ///< ordinal of the call it belongs to
  SharedText<48> op;
  SharedText<128> location;
};

struct alignas(4096) RankBlock {
  static constexpr size_t groupOpSlots = 32;
  static constexpr size_t collectiveSlots = 256;

  std::atomic<uint32_t> state;
  std::atomic<uint64_t> groupOps;       ///< begun
  std::atomic<uint64_t> groupOpsQueued; ///< in which no more collectives come
  std::atomic<uint64_t> groupOpsDone;   ///< ended
  /// In which it has compared itself with all others; of several hosts only.
  std::atomic<uint64_t> groupOpsCompared;
  std::atomic<uint64_t> collectives; ///< begun
  SharedText<48> phase;
  std::atomic<uint64_t> pid;
  std::atomic<uint64_t> pidNamespace;
  std::atomic<uint64_t> generation; ///< resets so far
  std::atomic<uint64_t> urgent;     ///< changes that it rang the bell for
  std::atomic<uint32_t> fate;       ///< of copies for ranks of other hosts

  /// Of GroupSleep.cpp. Which flag of its own the rank sleeps for, and from
  /// which rank (0, or 1 + that rank); a futex that changes when it is woken.
  alignas(64) std::atomic<uint32_t> awaitedRank;
  std::atomic<uint32_t> wakeups;
  std::atomic<uint64_t> awaitedOffset, awaitedValue;
  /// Marks of ranks that may sleep for a flag from this rank.
  alignas(64) std::atomic<uint64_t> sleepers;

  alignas(64) SharedError<2048> error;
  /// What is said of a host that is lost, in the block of its leader.
  SharedText<1024> lostText;

  GroupOpRecord groupOpRing[groupOpSlots];
  CollectiveRecord collectiveRing[collectiveSlots];
};

struct alignas(4096) GroupBlock {
  std::atomic<uint64_t> origin; ///< 0, or 1 + rank whose error was first
};

/// One GroupBlock, a RankBlock per rank, and a word per rank. Ranks of one host
/// share it. In a group of several, blocks for ranks of other hosts are copies,
/// which the leader's HostLink keeps up to date.
struct ControlMemory {
  ControlMemory(void *base, int size)
      : base(base), size(size), bytes(bytesFor(size)) {}
  ~ControlMemory() { munmap(base, bytes); }
  GroupBlock &group() { return *static_cast<GroupBlock *>(base); }
  RankBlock *ranks() {
    return reinterpret_cast<RankBlock *>(static_cast<char *>(base) +
                                         sizeof(GroupBlock));
  }
  /// What tells the collective of a rank from all others. The words lie side by
  /// side, since every rank looks at all of them in each collective.
  std::atomic<uint64_t> *collectives() {
    return reinterpret_cast<std::atomic<uint64_t> *>(ranks() + size);
  }
  static size_t bytesFor(int size) {
    return sizeof(GroupBlock) +
           (sizeof(RankBlock) + sizeof(std::atomic<uint64_t>)) * size;
  }
  void *base;
  int size;
  size_t bytes;
};

/// Names `rank` as the first that has an error, which its block holds already,
/// and wakes everybody on this host. False when another one was first.
bool nameOrigin(ControlMemory &memory, int rank);

/// Forgets what `rank` has done, and its error.
void clearForReset(ControlMemory &memory, int rank, uint64_t generation);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_CONTROLBLOCK_H
