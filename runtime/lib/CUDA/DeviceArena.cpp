//===- DeviceArena.cpp - device memory in the order of streams ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceArena.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::cuda;

static size_t roundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

DeviceArena::~DeviceArena() {
  // Unmapping does not wait for work in all cases.
  if (isAbandoned || chunks.empty() || !source.settle())
    return;
  for (auto &[address, bytes] : chunks)
    source.unmap(address, bytes);
}

void DeviceArena::setUser(const User &user) {
  std::lock_guard<std::mutex> lock(mutex);
  current = user;
}

void DeviceArena::abandon() {
  std::lock_guard<std::mutex> lock(mutex);
  isAbandoned = true;
}

bool DeviceArena::grow(Spans &spans, size_t bytes) {
  size_t wanted = roundUp(std::max(bytes, chunkBytes), source.granularity);
  size_t least = roundUp(bytes, source.granularity);
  char *chunk = source.map(wanted);
  if (!chunk && least < wanted)
    chunk = source.map(wanted = least);
  if (!chunk)
    return false;
  chunks.emplace(chunk, wanted);
  spans.emplace(chunk, wanted);
  return true;
}

void *DeviceArena::allocate(int64_t bytes, int64_t alignment) {
  bool isPowerOfTwo = alignment > 0 && (alignment & (alignment - 1)) == 0;
  if (bytes < 0 || !isPowerOfTwo || alignment > int64_t(1) << 30 ||
      bytes > INT64_MAX / 4)
    return nullptr;
  size_t align = std::max<size_t>(alignment, minAlignment);
  // Chunks are aligned to their granularity, and spans to minAlignment.
  size_t slack = align > minAlignment ? align : 0;
  size_t size = roundUp(std::max<size_t>(bytes, 1), minAlignment) + slack;
  std::lock_guard<std::mutex> lock(mutex);
  Spans &spans = freeSpans[current];
  // The smallest span that is large enough.
  auto find = [&] {
    auto best = spans.end();
    for (auto it = spans.begin(); it != spans.end(); ++it)
      if (it->second >= size &&
          (best == spans.end() || it->second < best->second))
        best = it;
    return best;
  };
  auto span = find();
  if (span == spans.end()) {
    if (!grow(spans, size))
      return nullptr;
    span = find();
  }
  Block block{span->first, size, current};
  // The rest keeps its place in the order, and so its node.
  auto node = spans.extract(span);
  if (node.mapped() > size) {
    node.key() += size;
    node.mapped() -= size;
    spans.insert(std::move(node));
  }
  uintptr_t address = reinterpret_cast<uintptr_t>(block.base);
  void *ptr = reinterpret_cast<void *>(roundUp(address, align));
  live.add(ptr, block);
  return ptr;
}

void DeviceArena::recycle(const Block &block) {
  Spans &spans = freeSpans[block.user];
  char *base = block.base;
  size_t bytes = block.bytes;
  auto next = spans.lower_bound(base);
  // Chunks that happen to touch are different mappings.
  if (next != spans.end() && next->first == base + bytes &&
      !isChunkStart(next->first)) {
    bytes += next->second;
    next = spans.erase(next);
  }
  if (next != spans.begin() && !isChunkStart(base)) {
    auto before = std::prev(next);
    if (before->first + before->second == base) {
      before->second += bytes;
      return;
    }
  }
  spans.emplace(base, bytes);
}

bool DeviceArena::free(void *ptr) {
  std::lock_guard<std::mutex> lock(mutex);
  return live.free(ptr, [&](const Block &block) { recycle(block); });
}

bool DeviceArena::keep(void *ptr) {
  std::lock_guard<std::mutex> lock(mutex);
  return live.keep(ptr);
}

bool DeviceArena::has(void *ptr) const {
  std::lock_guard<std::mutex> lock(mutex);
  return live.has(ptr);
}

void DeviceArena::endCall() {
  std::lock_guard<std::mutex> lock(mutex);
  live.endCall([&](const Block &block) { recycle(block); });
}

Memory::Stats DeviceArena::stats() const {
  std::lock_guard<std::mutex> lock(mutex);
  size_t cachedBytes = 0;
  for (const auto &[user, spans] : freeSpans)
    for (const auto &[address, bytes] : spans)
      cachedBytes += bytes;
  return {live.size(), live.bytes(), cachedBytes, chunks.size()};
}
