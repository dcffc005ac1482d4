//===- SymmetricHeap.cpp - memory every rank has at the same offset -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/SymmetricHeap.h"

#include <algorithm>

using namespace moe::rt;

static size_t roundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

Expected<std::unique_ptr<SymmetricHeap>>
SymmetricHeap::create(Backend &backend, Bootstrap &bootstrap,
                      size_t reservePerRank) {
  size_t ranks = bootstrap.size();
  size_t slice =
      std::min(std::max<size_t>(reservePerRank, 1), SIZE_MAX / 4 / ranks);
  slice = roundUp(slice, backend.granularity());
  // Address space can be short where it is limited, or under a sanitizer.
  constexpr size_t enough = size_t(1) << 30;
  Expected<char *> base = backend.reserve(slice * ranks);
  while (!base.isOk() && slice / 2 >= enough) {
    slice = roundUp(slice / 2, backend.granularity());
    base = backend.reserve(slice * ranks);
  }
  // Strides may differ, since only offsets are shared; the room may not.
  uint64_t room = base.isOk() ? slice : 0;
  std::vector<uint64_t> rooms(ranks);
  Status status = bootstrap.allGather(&room, sizeof(room), rooms.data());
  if (!base.isOk())
    return base.status();
  for (size_t r = 0; status.isOk() && r < ranks; ++r) {
    if (rooms[r] == 0)
      status = makeError(MOERT_PEER_FAILED,
                         "rank %d could not reserve its symmetric heap",
                         bootstrap.rankInWhole(static_cast<int>(r)));
    room = std::min(room, rooms[r]);
  }
  if (!status.isOk()) {
    backend.release(*base, slice * ranks);
    return status;
  }
  return std::unique_ptr<SymmetricHeap>(
      new SymmetricHeap(backend, bootstrap, *base, slice, room));
}

SymmetricHeap::~SymmetricHeap() {
  for (auto &[offset, bytes] : chunks)
    for (int r = 0; r < numRanks; ++r)
      backend.unmapChunk(slice(r) + offset, bytes);
  backend.release(base, sliceBytes * numRanks);
}

/// Commits at least `bytes` more in every slice.
Status SymmetricHeap::grow(size_t bytes) {
  size_t chunkBytes = roundUp(bytes, backend.granularity());
  int ranks = bootstrap.size();
  Status mine;
  ChunkHandle own;
  if (chunkBytes < bytes || chunkBytes > roomBytes - committed)
    mine = makeError(MOERT_OUT_OF_MEMORY,
                     "%zu bytes do not fit the symmetric heap: %zu of %zu "
                     "bytes are in use on each rank; a larger one can be "
                     "reserved (--symm-reserve of moe-run)",
                     bytes, committed, roomBytes);
  else if (committed + chunkBytes > backend.memoryBytes())
    mine = makeError(MOERT_OUT_OF_MEMORY,
                     "%zu bytes of symmetric memory on each of %d ranks are "
                     "more than the %zu bytes that this machine has for each",
                     committed + chunkBytes, ranks, backend.memoryBytes());
  else if (size_t free = backend.freeBytes(); chunkBytes > free)
    mine = makeError(MOERT_OUT_OF_MEMORY,
                     "%zu more bytes of symmetric memory on each of %d ranks "
                     "do not fit: this machine, or its container, has %zu "
                     "bytes free for each",
                     chunkBytes, ranks, free);
  // All look before one of them takes memory.
  if (Status s = agreeStatus(bootstrap, mine); !s.isOk())
    return s;
  auto created = backend.createChunk(chunkBytes);
  if (created.isOk())
    own = created.take();
  if (Status s = agreeStatus(bootstrap, created.status()); !s.isOk())
    return s;

  std::vector<UniqueFd> fds;
  std::vector<decltype(own.blob)> blobs(ranks);
  // Where this fails on one rank only, the others have to learn of it.
  mine = bootstrap.exchangeFds(own.fd.get(), fds);
  if (Status s =
          bootstrap.allGather(own.blob.data(), own.blob.size(), blobs.data());
      !s.isOk())
    return mine.isOk() ? s : mine;
  int mapped = 0;
  for (; mine.isOk() && mapped < ranks; ++mapped) {
    ChunkHandle chunk{std::move(fds[mapped]), blobs[mapped], nullptr};
    mine = backend.mapChunk(chunk, slice(mapped) + committed, chunkBytes);
    if (!mine.isOk())
      break;
  }
  if (Status s = agreeStatus(bootstrap, mine); !s.isOk()) {
    for (int r = 0; r < mapped; ++r)
      backend.unmapChunk(slice(r) + committed, chunkBytes);
    return s;
  }
  chunks[committed] = chunkBytes;
  release(committed, chunkBytes);
  committed += chunkBytes;
  return Status::ok();
}

/// Adds a span to the free ones and joins it with its neighbours.
void SymmetricHeap::release(size_t offset, size_t bytes) {
  auto next = freeSpans.lower_bound(offset);
  if (next != freeSpans.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = freeSpans.erase(next);
  }
  if (next != freeSpans.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  freeSpans.emplace(offset, bytes);
}

Expected<char *> SymmetricHeap::allocate(size_t bytes) {
  // All ranks take the same decisions, since they see the same requests.
  uint64_t wanted = bytes;
  std::vector<uint64_t> all(bootstrap.size());
  if (Status s = bootstrap.allGather(&wanted, sizeof(wanted), all.data());
      !s.isOk())
    return s;
  for (size_t r = 0; r < all.size(); ++r)
    if (all[r] != wanted)
      return makeError(MOERT_COLLECTIVE_MISMATCH,
                       "rank %d allocates %zu bytes of symmetric memory, but "
                       "rank %zu allocates %zu",
                       rank(), bytes, r, size_t(all[r]));
  if (bytes > roomBytes)
    return makeError(MOERT_OUT_OF_MEMORY,
                     "%zu bytes do not fit the symmetric heap of %zu bytes; a "
                     "larger one can be reserved (--symm-reserve of moe-run)",
                     bytes, roomBytes);
  size_t size = roundUp(std::max<size_t>(bytes, 1), alignment);
  auto fits = [&](const auto &span) { return span.second >= size; };
  auto span = std::find_if(freeSpans.begin(), freeSpans.end(), fits);
  if (span == freeSpans.end()) {
    if (Status s = grow(size); !s.isOk())
      return s;
    span = std::find_if(freeSpans.begin(), freeSpans.end(), fits);
  }
  size_t offset = span->first, rest = span->second - size;
  freeSpans.erase(span);
  if (rest)
    freeSpans.emplace(offset + size, rest);
  usedSpans.emplace(offset, size);

  char *address = slice(rank()) + offset;
  Status status;
  if (offset < dirtyBytes)
    status = backend.zero(address, std::min(size, dirtyBytes - offset));
  dirtyBytes = std::max(dirtyBytes, offset + size);
  // No rank may write before every rank has zeroed.
  status = agreeStatus(bootstrap, status);
  if (!status.isOk()) {
    usedSpans.erase(offset);
    release(offset, size);
    return status;
  }
  return address;
}

Status SymmetricHeap::free(void *address) {
  char *mine = slice(rank());
  size_t offset = static_cast<char *>(address) - mine;
  auto it = usedSpans.find(offset);
  Status status;
  if (it == usedSpans.end())
    status = makeError(MOERT_INVALID_ARGUMENT,
                       "%p is no block of the symmetric heap", address);
  // Nobody reuses what another rank still reads.
  status = agreeStatus(bootstrap, status);
  if (!status.isOk())
    return status;
  release(it->first, it->second);
  usedSpans.erase(it);
  return Status::ok();
}

bool SymmetricHeap::isInOneBlock(const char *address, size_t bytes) const {
  size_t offset = offsetOf(address);
  auto next = usedSpans.upper_bound(offset);
  if (next == usedSpans.begin())
    return false;
  auto block = std::prev(next);
  size_t end = block->first + block->second;
  return offset < end && bytes <= end - offset;
}

size_t SymmetricHeap::usedBytes() const {
  size_t bytes = 0;
  for (auto &[offset, size] : usedSpans)
    bytes += size;
  return bytes;
}
