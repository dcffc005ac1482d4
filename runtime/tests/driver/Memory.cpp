//===- Memory.cpp - memory of the stand-in --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An allocation is a memory file, which can be mapped more than once and whose
/// descriptor goes to other processes.
///
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::standin;

static std::atomic<size_t> usedBytes{0};

namespace {
struct Allocation {
  Allocation(int fd, size_t bytes, bool isOwn)
      : fd(fd), bytes(bytes), isOwn(isOwn) {}
  ~Allocation() {
    close(fd);
    if (isOwn)
      usedBytes -= bytes;
  }
  int fd;
  size_t bytes;
  bool isOwn; ///< not imported
};
struct Mapping {
  size_t bytes;
  std::shared_ptr<Allocation> allocation;
  bool isOpen = false; ///< access has been set
};
struct MemoryState {
  std::mutex mutex;
  std::map<AllocationHandle, std::shared_ptr<Allocation>> allocations;
  AllocationHandle lastHandle = 0;
  std::map<DevicePtr, size_t> reserved, pinned;
  std::map<DevicePtr, Mapping> mappings;
};
} // namespace

/// Never destroyed, since threads of streams may outlive statics.
static MemoryState &memoryState() {
  static MemoryState *it = new MemoryState();
  return *it;
}

template <typename Map, typename Size>
static auto findAround(Map &map, DevicePtr address, size_t bytes, Size size) {
  auto it = map.upper_bound(address);
  if (it == map.begin())
    return map.end();
  --it;
  return address - it->first <= size(it->second) &&
                 bytes <= size(it->second) - (address - it->first)
             ? it
             : map.end();
}

static size_t sizeOf(size_t bytes) { return bytes; }

MemoryKind moe::standin::kindOf(DevicePtr address, size_t bytes) {
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  // Chunks of a heap lie side by side.
  DevicePtr at = address, end = address + bytes;
  for (auto it = s.mappings.upper_bound(at); at < end;) {
    if (it == s.mappings.begin())
      break;
    auto here = std::prev(it);
    if (!here->second.isOpen || at - here->first >= here->second.bytes)
      break;
    at = here->first + here->second.bytes;
    it = s.mappings.upper_bound(at);
  }
  if (at >= end ||
      findAround(s.pinned, address, bytes, sizeOf) != s.pinned.end())
    return MemoryKind::Mapped;
  // One byte, since other memory may begin where a range ends.
  bool touches =
      at != address ||
      findAround(s.reserved, address, 1, sizeOf) != s.reserved.end() ||
      findAround(s.pinned, address, 1, sizeOf) != s.pinned.end();
  return touches ? MemoryKind::Broken : MemoryKind::Pageable;
}

Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  if (Result r = checkContext())
    return r;
  *total = deviceBytes;
  *free = deviceBytes - std::min<size_t>(usedBytes, deviceBytes);
  return success;
}

//===----------------------------------------------------------------------===//
// Pinned memory
//===----------------------------------------------------------------------===//

Result cuMemHostAlloc(void **out, size_t bytes, unsigned) {
  if (Result r = checkUnsafe())
    return r;
  if (posix_memalign(out, 4096, bytes) != 0)
    return errorOutOfMemory;
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.pinned[reinterpret_cast<DevicePtr>(*out)] = bytes;
  return success;
}

Result cuMemHostGetDevicePointer_v2(DevicePtr *out, void *memory, unsigned) {
  if (Result r = checkContext())
    return r;
  *out = reinterpret_cast<DevicePtr>(memory);
  return kindOf(*out, 1) == MemoryKind::Mapped ? success : errorInvalidValue;
}

Result cuMemFreeHost(void *memory) {
  if (Result r = checkUnsafe())
    return r;
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  if (!s.pinned.erase(reinterpret_cast<DevicePtr>(memory)))
    return errorInvalidValue;
  free(memory);
  return success;
}

/// Memory of the device that is not mapped twice is like any other.
Result cuMemAlloc_v2(DevicePtr *out, size_t bytes) {
  if (usedBytes + bytes > deviceBytes)
    return errorOutOfMemory;
  void *memory = nullptr;
  Result result = cuMemHostAlloc(&memory, bytes, 0);
  *out = reinterpret_cast<DevicePtr>(memory);
  return result;
}

Result cuMemFree_v2(DevicePtr address) {
  return cuMemFreeHost(pointer(address));
}

//===----------------------------------------------------------------------===//
// Virtual memory
//===----------------------------------------------------------------------===//

Result cuMemAddressReserve(DevicePtr *out, size_t bytes, size_t alignment,
                           DevicePtr, unsigned long long) {
  if (Result r = checkContext())
    return r;
  if (!bytes || bytes % granularity || alignment > granularity)
    return errorInvalidValue;
  // More than is needed, of which a part is aligned.
  size_t wanted = bytes + granularity;
  void *range = mmap(nullptr, wanted, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED)
    return errorOutOfMemory;
  auto begin = reinterpret_cast<DevicePtr>(range);
  DevicePtr base = (begin + granularity - 1) / granularity * granularity;
  if (base != begin)
    munmap(range, base - begin);
  munmap(pointer(base + bytes), begin + wanted - base - bytes);
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.reserved[base] = bytes;
  *out = base;
  return success;
}

Result cuMemAddressFree(DevicePtr address, size_t bytes) {
  if (Result r = checkContext())
    return r;
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.reserved.find(address);
  auto mapped = s.mappings.lower_bound(address);
  bool isInUse = mapped != s.mappings.end() && mapped->first < address + bytes;
  if (it == s.reserved.end() || it->second != bytes || isInUse)
    return errorInvalidValue;
  s.reserved.erase(it);
  munmap(pointer(address), bytes);
  return success;
}

Result cuMemGetAllocationGranularity(size_t *bytes, const AllocationProp *,
                                     int) {
  *bytes = granularity;
  return checkContext();
}

static AllocationHandle add(std::shared_ptr<Allocation> allocation) {
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.allocations[++s.lastHandle] = std::move(allocation);
  return s.lastHandle;
}

static std::shared_ptr<Allocation> find(AllocationHandle handle) {
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.allocations.find(handle);
  return it == s.allocations.end() ? nullptr : it->second;
}

Result cuMemCreate(AllocationHandle *out, size_t bytes,
                   const AllocationProp *prop, unsigned long long) {
  if (Result r = checkUnsafe())
    return r;
  bool isKnown =
      prop->handleTypes == handleNone || prop->handleTypes == handlePosixFd;
  if (!bytes || bytes % granularity || !isKnown)
    return errorInvalidValue;
  size_t before = usedBytes.fetch_add(bytes);
  if (before + bytes > deviceBytes) {
    usedBytes -= bytes;
    return errorOutOfMemory;
  }
  int fd = memfd_create("stand-in", MFD_CLOEXEC);
  auto allocation = std::make_shared<Allocation>(fd, bytes, true);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0)
    return errorOutOfMemory;
  *out = add(std::move(allocation));
  return success;
}

Result cuMemRelease(AllocationHandle handle) {
  if (Result r = checkContext())
    return r;
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  return s.allocations.erase(handle) ? success : errorInvalidValue;
}

Result cuMemExportToShareableHandle(void *out, AllocationHandle handle,
                                    int type, unsigned long long) {
  if (Result r = checkContext())
    return r;
  auto allocation = find(handle);
  if (!allocation || type != handlePosixFd)
    return errorInvalidValue;
  int fd = fcntl(allocation->fd, F_DUPFD_CLOEXEC, 0);
  std::memcpy(out, &fd, sizeof(fd));
  return fd >= 0 ? success : errorOutOfMemory;
}

Result cuMemImportFromShareableHandle(AllocationHandle *out, void *source,
                                      int type) {
  if (Result r = checkContext())
    return r;
  int fd = static_cast<int>(reinterpret_cast<intptr_t>(source));
  struct stat facts{};
  if (type != handlePosixFd || fstat(fd, &facts) != 0)
    return errorInvalidValue;
  *out = add(std::make_shared<Allocation>(fcntl(fd, F_DUPFD_CLOEXEC, 0),
                                          size_t(facts.st_size), false));
  return success;
}

Result cuMemMap(DevicePtr address, size_t bytes, size_t offset,
                AllocationHandle handle, unsigned long long) {
  if (Result r = checkUnsafe())
    return r;
  auto allocation = find(handle);
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto next = s.mappings.lower_bound(address);
  bool isTaken = next != s.mappings.end() && next->first < address + bytes;
  if (next != s.mappings.begin()) {
    auto before = std::prev(next);
    isTaken |= before->first + before->second.bytes > address;
  }
  if (!allocation || offset || bytes != allocation->bytes ||
      address % granularity || isTaken ||
      findAround(s.reserved, address, bytes, sizeOf) == s.reserved.end())
    return errorInvalidValue;
  if (mmap(pointer(address), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED,
           allocation->fd, 0) == MAP_FAILED)
    return errorOutOfMemory;
  s.mappings[address] = {bytes, allocation};
  return success;
}

Result cuMemSetAccess(DevicePtr address, size_t bytes, const AccessDesc *desc,
                      size_t count) {
  if (Result r = checkUnsafe())
    return r;
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.mappings.find(address);
  if (it == s.mappings.end() || it->second.bytes != bytes || count != 1 ||
      desc->flags != 3)
    return errorInvalidValue;
  it->second.isOpen = true;
  return mprotect(pointer(address), bytes, PROT_READ | PROT_WRITE) == 0
             ? success
             : errorOutOfMemory;
}

Result cuMemUnmap(DevicePtr address, size_t bytes) {
  if (Result r = checkUnsafe())
    return r;
  MemoryState &s = memoryState();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.mappings.find(address);
  if (it == s.mappings.end() || it->second.bytes != bytes)
    return errorInvalidValue;
  s.mappings.erase(it);
  void *range =
      mmap(pointer(address), bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return range == MAP_FAILED ? errorOutOfMemory : success;
}
