//===- AddressSpace.cpp - the range symmetric memory is mapped into -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AddressSpace.h"

using namespace moe::rt;
using namespace moe::rt::cuda;

Expected<char *> AddressSpace::reserve(const Gpu &gpu, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  if (users == 0) {
    Current current(gpu);
    DevicePtr range = 0;
    Result result = gpu.driver().memAddressReserve(&range, bytes, 0, 0, 0);
    if (result != success)
      return makeError(MOERT_OUT_OF_MEMORY,
                       "%s: cannot reserve %zu bytes of address space: %s",
                       gpu.str().c_str(), bytes,
                       gpu.driver().describe(result).c_str());
    base = reinterpret_cast<char *>(range);
    reservedBytes = bytes;
  } else if (bytes != reservedBytes) {
    return makeError(MOERT_COLLECTIVE_MISMATCH,
                     "ranks reserve %zu and %zu bytes of address space",
                     reservedBytes, bytes);
  }
  ++users;
  return base;
}

void AddressSpace::release(const Gpu &gpu, char *address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  if (address != base || --users > 0)
    return;
  Current current(gpu);
  gpu.driver().memAddressFree(toDevicePtr(address), bytes);
}

/// Turns what another rank exported into memory of this process.
static Status import(const Gpu &gpu, HandleType type, const ChunkHandle &chunk,
                     AllocationHandle &out) {
  void *source = nullptr;
  if (type == handleFabric) {
    source = const_cast<unsigned char *>(chunk.blob.data());
  } else {
    if (!chunk.fd.isValid())
      return Status(MOERT_INTERNAL, "a rank passed no handle of its memory");
    source = reinterpret_cast<void *>(static_cast<intptr_t>(chunk.fd.get()));
  }
  return gpu.check(gpu.driver().memImport(&out, source, type),
                   "importing the memory of a rank");
}

Status AddressSpace::map(const Gpu &gpu, HandleType type,
                         const ChunkHandle &chunk, char *address,
                         size_t bytes) {
  const Driver &api = gpu.driver();
  std::lock_guard<std::mutex> lock(mutex);
  Current current(gpu);
  int &count = mappings[address];
  Status status;
  if (count == 0) {
    AllocationHandle memory;
    status = import(gpu, type, chunk, memory);
    if (status.isOk()) {
      status = gpu.check(api.memMap(toDevicePtr(address), bytes, 0, memory, 0),
                         "mapping symmetric memory");
      api.memRelease(memory);
    }
    if (!status.isOk()) {
      mappings.erase(address);
      return status;
    }
  }
  ++count;
  AccessDesc desc = gpu.access();
  status = gpu.check(
      api.memSetAccess(toDevicePtr(address), bytes, &desc, 1),
      "opening symmetric memory of another GPU, which needs peer access");
  if (!status.isOk() && --count == 0) {
    mappings.erase(address);
    api.memUnmap(toDevicePtr(address), bytes);
  }
  return status;
}

void AddressSpace::unmap(const Gpu &gpu, char *address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  auto it = mappings.find(address);
  if (it == mappings.end() || --it->second > 0)
    return;
  mappings.erase(it);
  Current current(gpu);
  gpu.driver().memUnmap(toDevicePtr(address), bytes);
}

/// Zeroes memory through a mapping of its own.
static Status zeroUnmapped(Gpu &gpu, AllocationHandle memory, size_t bytes) {
  const Driver &api = gpu.driver();
  DevicePtr address = 0;
  if (Status s = gpu.check(api.memAddressReserve(&address, bytes, 0, 0, 0),
                           "reserving addresses");
      !s.isOk())
    return s;
  Status status =
      gpu.check(api.memMap(address, bytes, 0, memory, 0), "mapping memory");
  if (status.isOk()) {
    AccessDesc desc = gpu.access();
    status =
        gpu.check(api.memSetAccess(address, bytes, &desc, 1), "mapping memory");
    if (status.isOk())
      status = gpu.zeroNow(reinterpret_cast<void *>(address), bytes);
    api.memUnmap(address, bytes);
  }
  api.memAddressFree(address, bytes);
  return status;
}

Expected<ChunkHandle>
moe::rt::cuda::createChunk(const std::shared_ptr<Gpu> &gpu, HandleType type,
                           size_t bytes) {
  const Driver &api = gpu->driver();
  Current current(*gpu);
  AllocationProp prop = gpu->allocationProp(type);
  AllocationHandle memory = 0;
  Result result = api.memCreate(&memory, bytes, &prop, 0);
  if (result == errorOutOfMemory)
    return makeError(MOERT_OUT_OF_MEMORY,
                     "%s: %zu bytes of symmetric memory are wanted, and %zu of "
                     "%zu bytes are free",
                     gpu->str().c_str(), bytes, gpu->freeBytes(),
                     gpu->memoryBytes());
  if (Status s = gpu->check(result, "allocating symmetric memory"); !s.isOk())
    return s;
  ChunkHandle chunk;
  auto release = [gpu, memory](void *) {
    Current current(*gpu);
    gpu->driver().memRelease(memory);
  };
  chunk.owner = std::shared_ptr<void>(nullptr, release);
  if (Status s = zeroUnmapped(*gpu, memory, bytes); !s.isOk())
    return s;
  int fd = -1;
  void *handle = type == handleFabric ? static_cast<void *>(chunk.blob.data())
                                      : static_cast<void *>(&fd);
  Status status = gpu->check(api.memExport(handle, memory, type, 0),
                             "exporting symmetric memory");
  chunk.fd = UniqueFd(fd);
  if (!status.isOk())
    return status;
  return chunk;
}

Expected<HandleType>
moe::rt::cuda::probeHandleType(const std::shared_ptr<Gpu> &gpu) {
  const Driver &api = gpu->driver();
  Current current(*gpu);
  for (auto [type, attribute] :
       {std::pair{handlePosixFd, attributePosixHandles},
        std::pair{handleFabric, attributeFabricHandles}}) {
    int isSupported = 0;
    // A driver that does not know the attribute does not have the type.
    if (api.deviceGetAttribute(&isSupported, attribute, gpu->device()) !=
            success ||
        !isSupported)
      continue;
    // Said to be supported, and yet refused where, say, a container lacks the
    // device file.
    auto chunk = createChunk(gpu, type, gpu->granularity());
    // One is enough, and trying in vain is an error to tools that watch.
    if (chunk.isOk())
      return type;
    // Then no type would work.
    if (chunk.status().code() == MOERT_OUT_OF_MEMORY)
      return chunk.status();
  }
  return makeError(
      MOERT_UNAVAILABLE,
      "%s has no way to hand memory to other ranks: neither file "
      "descriptors nor fabric handles work (and the IPC handles of older "
      "systems cannot be mapped at a chosen address, which symmetric memory "
      "needs)",
      gpu->str().c_str());
}
