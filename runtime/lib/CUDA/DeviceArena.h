//===- DeviceArena.h - device memory in the order of streams ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_DEVICEARENA_H
#define MOE_RUNTIME_LIB_CUDA_DEVICEARENA_H

#include "moe-runtime/LiveBlocks.h"
#include "moe-runtime/Memory.h"

#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace moe::rt::cuda {

/// Memory that work on streams uses. A block that is freed serves later work
/// on the same stream at once, since the stream keeps the order; other streams
/// never get it. Memory given out while a stream is captured belongs to that
/// capture for good, since the graph may run at any time. Nothing goes back to
/// the device before the arena ends: that would wait for kernels, which may
/// wait for other ranks.
class DeviceArena : public Memory {
public:
  /// Where chunks come from.
  struct Source {
    std::function<char *(size_t bytes)> map; ///< null when there is no memory
    std::function<void(char *address, size_t bytes)> unmap;
    /// Waits for all work that may use chunks; false when that is not known.
    std::function<bool()> settle;
    size_t granularity;
  };
  explicit DeviceArena(Source source) : source(std::move(source)) {}
  ~DeviceArena() override;

  /// What memory is for: a stream, and the capture it is in, or 0.
  struct User {
    const void *stream = nullptr;
    uint64_t capture = 0;
    bool operator<(const User &other) const {
      return std::pair(stream, capture) <
             std::pair(other.stream, other.capture);
    }
  };
  /// Allocations are for `user` from now on.
  void setUser(const User &user);
  /// Leaves all memory to the process's end: a kernel that does not end may be
  /// using it.
  void abandon();

  void *allocate(int64_t bytes, int64_t alignment) override;
  bool free(void *ptr) override;
  bool keep(void *ptr) override;
  bool has(void *ptr) const override;
  void endCall() override;
  Stats stats() const override;

  static constexpr size_t minAlignment = 256;
  /// Memory is taken from the device in pieces of at least this size.
  static constexpr size_t chunkBytes = size_t(16) << 20;

private:
  struct Block {
    char *base;
    size_t bytes; ///< from base on
    User user;
  };
  /// Free spans by address; neighbours within a chunk are joined.
  using Spans = std::map<char *, size_t>;

  bool grow(Spans &spans, size_t bytes);
  void recycle(const Block &block);
  bool isChunkStart(char *address) const { return chunks.count(address) != 0; }

  Source source;
  mutable std::mutex mutex;
  User current;
  LiveBlocks<Block> live;
  std::map<User, Spans> freeSpans;
  std::map<char *, size_t> chunks;
  bool isAbandoned = false;
};

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_DEVICEARENA_H
