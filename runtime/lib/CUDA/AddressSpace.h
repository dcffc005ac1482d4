//===- AddressSpace.h - the range symmetric memory is mapped into -*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_ADDRESSSPACE_H
#define MOE_RUNTIME_LIB_CUDA_ADDRESSSPACE_H

#include "Gpu.h"
#include "moe-runtime/Backend.h"

#include <map>
#include <mutex>

namespace moe::rt::cuda {

/// The reserved range of a heap. Ranks that are threads share one, which maps
/// a chunk once and then opens it to the GPU of each rank.
class AddressSpace {
public:
  Expected<char *> reserve(const Gpu &gpu, size_t bytes);
  void release(const Gpu &gpu, char *address, size_t bytes);
  /// Maps the memory of a handle for `gpu`.
  Status map(const Gpu &gpu, HandleType type, const ChunkHandle &chunk,
             char *address, size_t bytes);
  void unmap(const Gpu &gpu, char *address, size_t bytes);

private:
  std::mutex mutex;
  char *base = nullptr;
  size_t reservedBytes = 0;
  int users = 0;
  std::map<char *, int> mappings; ///< address -> users
};

/// Memory of `gpu`, zeroed, with a handle that other processes can map.
Expected<ChunkHandle> createChunk(const std::shared_ptr<Gpu> &gpu,
                                  HandleType type, size_t bytes);

/// The first way of handing out memory that works on this GPU, found by trying;
/// MOERT_UNAVAILABLE when none does.
Expected<HandleType> probeHandleType(const std::shared_ptr<Gpu> &gpu);

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_ADDRESSSPACE_H
