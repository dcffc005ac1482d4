//===- Copies.cpp - copies of the stand-in --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <cstring>
#include <memory>
#include <sys/mman.h>

using namespace moe::standin;

/// Few words are copied one by one, each as a whole, and what was written
/// before one is seen with it.
static void copyBytes(void *to, const void *from, size_t bytes) {
  constexpr size_t few = 4096;
  auto areWords = [&](const void *at) {
    return (reinterpret_cast<uintptr_t>(at) | bytes) % sizeof(uint64_t) == 0;
  };
  if (bytes > few || !areWords(to) || !areWords(from)) {
    std::memcpy(to, from, bytes);
    return;
  }
  auto *source = static_cast<const uint64_t *>(from);
  auto *target = static_cast<uint64_t *>(to);
  for (size_t i = 0; i < bytes / sizeof(uint64_t); ++i)
    __atomic_store_n(target + i, __atomic_load_n(source + i, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
}

/// Whole pages that are zeroed are given back.
static void setBytes(char *to, unsigned char value, size_t bytes) {
  bool arePages = reinterpret_cast<uintptr_t>(to) % granularity == 0 &&
                  bytes % granularity == 0;
  if (value == 0 && arePages && madvise(to, bytes, MADV_REMOVE) == 0)
    return;
  std::memset(to, value, bytes);
}

Result cuMemcpyAsync(DevicePtr to, DevicePtr from, size_t bytes,
                     StreamHandle stream) {
  if (Result r = checkContext())
    return r;
  MemoryKind source = kindOf(from, bytes), target = kindOf(to, bytes);
  if (source == MemoryKind::Broken || target == MemoryKind::Broken)
    return errorInvalidValue;
  // What is pageable has been read, or written, when the call returns.
  std::shared_ptr<char[]> staged;
  if (source == MemoryKind::Pageable && !isCapturing(stream)) {
    staged.reset(new char[bytes]);
    std::memcpy(staged.get(), pointer(from), bytes);
  }
  auto task = [=] {
    copyBytes(pointer(to), staged ? staged.get() : pointer(from), bytes);
  };
  Result result = bytes == sizeof(uint64_t) ? runOrEnqueue(stream, task)
                                            : enqueue(stream, task);
  bool waits = target == MemoryKind::Pageable && !isCapturing(stream);
  return result == success && waits ? drain(stream) : result;
}

Result cuMemcpyHtoDAsync_v2(DevicePtr to, const void *from, size_t bytes,
                            StreamHandle stream) {
  return cuMemcpyAsync(to, reinterpret_cast<DevicePtr>(from), bytes, stream);
}

Result cuMemsetD8Async(DevicePtr to, unsigned char value, size_t bytes,
                       StreamHandle stream) {
  if (Result r = checkContext())
    return r;
  if (kindOf(to, bytes) != MemoryKind::Mapped)
    return errorInvalidValue;
  return enqueue(stream, [=] {
    setBytes(static_cast<char *>(pointer(to)), value, bytes);
  });
}
