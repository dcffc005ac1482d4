//===- HostMemory.h - the range symmetric memory is mapped into -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_HOST_HOSTMEMORY_H
#define MOE_RUNTIME_LIB_HOST_HOSTMEMORY_H

#include "moe-runtime/Status.h"

#include <map>
#include <mutex>

namespace moe::rt {

/// The reserved range of a heap. Ranks that are threads share one, so that
/// all see a slice at the same address, as a race detector needs it; there
/// the first rank maps a chunk and the last one unmaps it.
class HostAddressSpace {
public:
  Expected<char *> reserve(size_t bytes);
  void release(char *base, size_t bytes);
  Status map(int fd, char *address, size_t bytes);
  void unmap(char *address, size_t bytes);

private:
  std::mutex mutex;
  char *base = nullptr;
  size_t reservedBytes = 0;
  int users = 0;
  std::map<char *, int> mappings; ///< address -> users
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_HOST_HOSTMEMORY_H
