//===- Memory.h - memory of generated code and results ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MEMORY_H
#define MOE_RUNTIME_MEMORY_H

#include <cstddef>
#include <cstdint>

namespace moe::rt {

/// Gives out the memory of a backend: what generated code allocates during a
/// call, so that an error can free it, and results, which outlive it.
///
/// Thread-safe, and kept alive by the results that came from it: a caller may
/// free a result on any thread, after the context is gone.
class Memory {
public:
  virtual ~Memory();

  /// Null when there is no memory, or for an alignment that is no power of two
  /// or a negative size.
  virtual void *allocate(int64_t bytes, int64_t alignment) = 0;
  /// False, and nothing happens, when `ptr` is no live block. Null is fine.
  virtual bool free(void *ptr) = 0;
  /// Takes a block out of the running call, so that endCall leaves it alone.
  /// Taken n times, it is freed by the n-th free. False when `ptr` is no
  /// block.
  virtual bool keep(void *ptr) = 0;
  /// Whether `ptr` is a live block.
  virtual bool has(void *ptr) const = 0;
  /// Frees the blocks that were not kept.
  virtual void endCall() = 0;

  struct Stats {
    size_t liveBlocks;
    size_t liveBytes;
    size_t cachedBytes;
    size_t mappedBlocks; ///< taken from the system so far
  };
  virtual Stats stats() const = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_MEMORY_H
