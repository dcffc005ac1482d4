//===- SymmetricHeap.h - symmetric memory of a group ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_SYMMETRICHEAP_H
#define MOE_RUNTIME_SYMMETRICHEAP_H

#include "moe-runtime/Backend.h"

#include <map>
#include <memory>
#include <vector>

namespace moe::rt {

/// One reserved address range with a slice per rank, at equal strides. A
/// buffer has the same offset in every slice, so its address on a peer is
/// arithmetic. Memory is committed in chunks; handles are exchanged when the
/// heap grows and at no other time.
///
/// Not thread-safe. Allocation and release are collective.
class SymmetricHeap {
public:
  static Expected<std::unique_ptr<SymmetricHeap>>
  create(Backend &backend, Bootstrap &bootstrap, size_t reservePerRank);
  ~SymmetricHeap();

  /// `bytes` zeroed bytes in every slice, aligned to 256; the address in this
  /// rank's slice.
  Expected<char *> allocate(size_t bytes);
  Status free(void *address);

  int rank() const { return bootstrap.rank(); }
  int64_t stride() const { return static_cast<int64_t>(sliceBytes); }
  char *slice(int rank) const { return base + sliceBytes * rank; }
  char *peer(void *address, int rank) const {
    return static_cast<char *>(address) + stride() * (rank - this->rank());
  }
  size_t committedBytes() const { return committed; }
  /// Whether memory of this rank's slice has been committed there.
  bool isInSlice(const char *address, size_t bytes) const {
    return address >= slice(rank()) && bytes <= committed &&
           offsetOf(address) <= committed - bytes;
  }
  /// Whether it is all of it, or part, of what one allocation returned.
  bool isInOneBlock(const char *address, size_t bytes) const;
  size_t offsetOf(const char *address) const {
    return size_t(address - slice(rank()));
  }
  size_t usedBytes() const;

  static constexpr size_t alignment = 256;

private:
  SymmetricHeap(Backend &backend, Bootstrap &bootstrap, char *base,
                size_t sliceBytes, size_t roomBytes)
      : backend(backend), bootstrap(bootstrap), numRanks(bootstrap.size()),
        base(base), sliceBytes(sliceBytes), roomBytes(roomBytes) {}
  Status grow(size_t bytes);
  void release(size_t offset, size_t bytes);

  Backend &backend;
  /// The heap's end needs it no more.
  Bootstrap &bootstrap;
  int numRanks;
  char *base;
  size_t sliceBytes; ///< the stride
  size_t roomBytes;  ///< what every rank can grow to
  size_t committed = 0;
  std::map<size_t, size_t> chunks;    ///< offset -> bytes, as mapped
  std::map<size_t, size_t> freeSpans; ///< offset -> bytes, never adjacent
  std::map<size_t, size_t> usedSpans;
  size_t dirtyBytes = 0; ///< memory from this offset on was never handed out
};

} // namespace moe::rt

#endif // MOE_RUNTIME_SYMMETRICHEAP_H
