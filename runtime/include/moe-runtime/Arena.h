//===- Arena.h - memory of generated code -----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_ARENA_H
#define MOE_RUNTIME_ARENA_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace moe::rt {

/// Tracks what generated code allocates during a call, so that an error can
/// free it, and keeps large blocks for the next calls, so that a large result
/// is not paged in anew each time.
///
/// Thread-safe, and kept alive by the results that came from it: a caller may
/// free a result on any thread, after the context is gone.
class Arena : public std::enable_shared_from_this<Arena> {
public:
  ~Arena();

  /// Null when the system has no memory, or for an alignment that is no power
  /// of two or a negative size.
  void *allocate(int64_t bytes, int64_t alignment);
  /// False, and nothing happens, when `ptr` is no live block. Null is fine.
  bool free(void *ptr);

  /// Takes a block out of the running call, so that endCall leaves it alone.
  /// Taken n times, it is freed by the n-th free. False when `ptr` is no
  /// block.
  bool keep(void *ptr);

  /// Frees the blocks that were not kept, and returns to the system what the
  /// last calls had no use for.
  void endCall();

  struct Stats {
    size_t liveBlocks;
    size_t liveBytes;
    size_t cachedBytes;
    size_t mappedBlocks; ///< large blocks taken from the system so far
  };
  Stats stats() const;

  /// Blocks from this size on are mapped, and kept when freed.
  static constexpr size_t largeBytes = 1 << 20;
  /// A cached block goes after this many calls without use.
  static constexpr uint64_t maxIdleCalls = 16;

private:
  struct Block {
    void *base;
    size_t bytes; ///< from base on
    bool isLarge;
    unsigned keeps;
  };
  struct Cached {
    void *base;
    uint64_t freedInCall;
  };

  void *allocateLarge(size_t bytes, size_t &blockBytes);
  void recycle(const Block &block);

  mutable std::mutex mutex;
  std::map<void *, Block> live;
  std::multimap<size_t, Cached> cache; ///< by size
  uint64_t call = 0;
  size_t liveBytes = 0;
  size_t mappedBlocks = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_ARENA_H
