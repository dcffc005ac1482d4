//===- Arena.h - memory of generated code -----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_ARENA_H
#define MOE_RUNTIME_ARENA_H

#include "moe-runtime/LiveBlocks.h"
#include "moe-runtime/Memory.h"

#include <map>
#include <mutex>

namespace moe::rt {

/// Host memory. Keeps large blocks for the next calls, so that a large result
/// is not paged in anew each time, and returns to the system what the last
/// calls had no use for.
class Arena : public Memory {
public:
  ~Arena() override;
  void *allocate(int64_t bytes, int64_t alignment) override;
  bool free(void *ptr) override;
  bool keep(void *ptr) override;
  bool has(void *ptr) const override;
  void endCall() override;
  Stats stats() const override;

  /// Blocks from this size on are mapped, and kept when freed.
  static constexpr size_t largeBytes = 1 << 20;
  /// A cached block goes after this many calls without use.
  static constexpr uint64_t maxIdleCalls = 16;

private:
  struct Block {
    void *base;
    size_t bytes; ///< from base on
    bool isLarge;
  };
  struct Cached {
    void *base;
    uint64_t freedInCall;
  };

  void *allocateLarge(size_t bytes, size_t &blockBytes);
  void recycle(const Block &block);

  mutable std::mutex mutex;
  LiveBlocks<Block> live;
  std::multimap<size_t, Cached> cache; ///< by size
  uint64_t call = 0;
  size_t mappedBlocks = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_ARENA_H
