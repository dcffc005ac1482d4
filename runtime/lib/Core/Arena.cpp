//===- Arena.cpp - memory of generated code -------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Arena.h"

#include <algorithm>
#include <cstdlib>
#include <sys/mman.h>

using namespace moe::rt;

static constexpr size_t hugePageBytes = size_t(2) << 20;
static constexpr size_t pageBytes = 4096;

Arena::~Arena() {
  live.clear([](const Block &block) {
    if (block.isLarge)
      munmap(block.base, block.bytes);
    else
      std::free(block.base);
  });
  for (auto &[size, cached] : cache)
    munmap(cached.base, size);
}

/// A mapping of at least `bytes`: a cached one that is not much larger, or a
/// new one.
void *Arena::allocateLarge(size_t bytes, size_t &blockBytes) {
  auto it = cache.lower_bound(bytes);
  if (it != cache.end() && it->first <= bytes + bytes / 4) {
    blockBytes = it->first;
    void *base = it->second.base;
    cache.erase(it);
    return base;
  }
  blockBytes = (bytes + pageBytes - 1) / pageBytes * pageBytes;
  void *base = mmap(nullptr, blockBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    // What is cached may be what is missing.
    for (auto &[size, cached] : cache)
      munmap(cached.base, size);
    cache.clear();
    base = mmap(nullptr, blockBytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
      return nullptr;
  }
  if (blockBytes >= hugePageBytes)
    (void)madvise(base, blockBytes, MADV_HUGEPAGE);
  ++mappedBlocks;
  return base;
}

void *Arena::allocate(int64_t bytes, int64_t alignment) {
  bool isPowerOfTwo = alignment > 0 && (alignment & (alignment - 1)) == 0;
  if (bytes < 0 || !isPowerOfTwo || alignment > int64_t(1) << 30)
    return nullptr;
  // At least 64, so that vector accesses of any width stay in one line.
  size_t align = std::max<size_t>(alignment, 64);
  size_t size = std::max<size_t>(bytes, 1);
  if (size > SIZE_MAX / 4)
    return nullptr;
  std::lock_guard<std::mutex> lock(mutex);
  Block block{nullptr, 0, size >= largeBytes};
  void *ptr = nullptr;
  if (block.isLarge) {
    size_t slack = align > pageBytes ? align : 0;
    block.base = allocateLarge(size + slack, block.bytes);
    if (!block.base)
      return nullptr;
    uintptr_t address = reinterpret_cast<uintptr_t>(block.base);
    ptr = reinterpret_cast<void *>((address + align - 1) & ~(align - 1));
  } else {
    if (posix_memalign(&ptr, align, size) != 0)
      return nullptr;
    block.base = ptr;
    block.bytes = size;
  }
  live.add(ptr, block);
  return ptr;
}

void Arena::recycle(const Block &block) {
  if (block.isLarge)
    cache.emplace(block.bytes, Cached{block.base, call});
  else
    std::free(block.base);
}

bool Arena::free(void *ptr) {
  std::lock_guard<std::mutex> lock(mutex);
  return live.free(ptr, [&](const Block &block) { recycle(block); });
}

bool Arena::keep(void *ptr) {
  std::lock_guard<std::mutex> lock(mutex);
  return live.keep(ptr);
}

bool Arena::has(void *ptr) const {
  std::lock_guard<std::mutex> lock(mutex);
  return live.has(ptr);
}

void Arena::endCall() {
  std::lock_guard<std::mutex> lock(mutex);
  live.endCall([&](const Block &block) { recycle(block); });
  ++call;
  for (auto it = cache.begin(); it != cache.end();) {
    if (call - it->second.freedInCall <= maxIdleCalls) {
      ++it;
      continue;
    }
    munmap(it->second.base, it->first);
    it = cache.erase(it);
  }
}

Arena::Stats Arena::stats() const {
  std::lock_guard<std::mutex> lock(mutex);
  size_t cachedBytes = 0;
  for (const auto &[size, cached] : cache)
    cachedBytes += size;
  return {live.size(), live.bytes(), cachedBytes, mappedBlocks};
}
