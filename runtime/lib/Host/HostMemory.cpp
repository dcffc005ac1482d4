//===- HostMemory.cpp - the range symmetric memory is mapped into ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostMemory.h"

#include <cerrno>
#include <sys/mman.h>
#include <sys/stat.h>

using namespace moe::rt;

Expected<char *> HostAddressSpace::reserve(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  if (users == 0) {
    void *range = mmap(nullptr, bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
      return makeOsError(MOERT_OUT_OF_MEMORY, errno,
                         "cannot reserve %zu bytes of address space, which "
                         "ulimit -v may limit; a smaller symmetric heap needs "
                         "less (--symm-reserve of moe-run)",
                         bytes);
    base = static_cast<char *>(range);
    reservedBytes = bytes;
  } else if (bytes != reservedBytes) {
    return makeError(MOERT_COLLECTIVE_MISMATCH,
                     "ranks reserve %zu and %zu bytes of address space",
                     reservedBytes, bytes);
  }
  ++users;
  return base;
}

void HostAddressSpace::release(char *address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  if (address == base && --users == 0)
    munmap(address, bytes);
}

Status HostAddressSpace::map(int fd, char *address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  if (int &count = mappings[address]; count > 0) {
    ++count;
    return Status::ok();
  }
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0 || size_t(info.st_size) < bytes) {
    mappings.erase(address);
    return Status(MOERT_INTERNAL, "a rank passed no memory file of the "
                                  "agreed size");
  }
  if (mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
           0) == MAP_FAILED) {
    int error = errno;
    mappings.erase(address);
    return makeOsError(MOERT_OUT_OF_MEMORY, error,
                       "cannot map %zu bytes of symmetric memory", bytes);
  }
  (void)madvise(address, bytes, MADV_HUGEPAGE);
  mappings[address] = 1;
  return Status::ok();
}

void HostAddressSpace::unmap(char *address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  auto it = mappings.find(address);
  if (it == mappings.end() || --it->second > 0)
    return;
  mappings.erase(it);
  // Back to a reservation, so that nothing else moves in.
  (void)mmap(address, bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}
