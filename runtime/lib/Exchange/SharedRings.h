//===- SharedRings.h - memory of messages of one host -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_EXCHANGE_SHAREDRINGS_H
#define MOE_RUNTIME_LIB_EXCHANGE_SHAREDRINGS_H

#include "moe-runtime/SymmetricHeap.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace moe::rt {

/// What one rank tells another, which owns the memory. The words count bytes
/// since the last reset.
struct alignas(64) PairWords {
  std::atomic<uint64_t> arrived; ///< written to the teller's ring here
  std::atomic<uint64_t> taken;   ///< taken from the owner's ring over there
};

/// How a rank sleeps until another one has moved something.
struct alignas(64) Doorbell {
  std::atomic<uint32_t> awaited; ///< 0, or 1 + the rank that it sleeps for
  std::atomic<uint32_t> rings;   ///< a futex
};

/// What every message begins with.
struct MessageHeader {
  uint64_t operation;
  uint64_t bytes; ///< behind the header
};

/// The rings of all ranks. Those of a rank take 1 MiB together for 4 to 1024
/// ranks, less for fewer ranks and more for more; the words beside them 64
/// bytes per rank. With 64 ranks that is 65 MiB in all.
class SharedRings {
public:
  SharedRings(const SymmetricHeap &heap, char *mine, int ranks)
      : base(mine - heap.stride() * heap.rank()), stride(heap.stride()),
        ranks(size_t(ranks)), ringBytes(ringBytesFor(ranks)) {}

  static size_t ringBytesFor(int ranks) {
    constexpr size_t mostOfRank = size_t(1) << 20, least = 1024;
    size_t bytes = size_t(256) << 10;
    while (bytes > least && bytes * size_t(ranks) > mostOfRank)
      bytes /= 2;
    return bytes;
  }
  static size_t bytesFor(int ranks) {
    return sizeof(Doorbell) +
           (sizeof(PairWords) + ringBytesFor(ranks)) * size_t(ranks);
  }

  Doorbell &doorbell(int owner) const {
    return *reinterpret_cast<Doorbell *>(base + stride * owner);
  }
  /// What `teller` tells `owner`.
  PairWords &words(int owner, int teller) const {
    return reinterpret_cast<PairWords *>(&doorbell(owner) + 1)[teller];
  }

  size_t capacity() const { return ringBytes; }
  /// Bytes that are worth a signal.
  size_t chunkBytes() const { return ringBytes / 4; }

  /// To and from the ring that `sender` fills for `owner`, at any position of
  /// its stream.
  void write(int owner, int sender, uint64_t position, const char *from,
             size_t bytes) const {
    forParts(owner, sender, position, bytes, [&](char *ring, size_t part) {
      std::memcpy(ring, from, part);
      from += part;
    });
  }
  void read(int owner, int sender, uint64_t position, char *to,
            size_t bytes) const {
    forParts(owner, sender, position, bytes, [&](char *ring, size_t part) {
      std::memcpy(to, ring, part);
      to += part;
    });
  }

private:
  template <typename Copy>
  void forParts(int owner, int sender, uint64_t position, size_t bytes,
                Copy copy) const {
    char *ring = reinterpret_cast<char *>(&words(owner, int(ranks))) +
                 ringBytes * size_t(sender);
    size_t at = size_t(position % ringBytes);
    size_t first = std::min(bytes, ringBytes - at);
    copy(ring + at, first);
    if (first < bytes)
      copy(ring, bytes - first);
  }

  char *base;
  int64_t stride;
  size_t ranks, ringBytes;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_EXCHANGE_SHAREDRINGS_H
