//===- HostBackend.cpp - ranks as processes or threads of one machine -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostMemory.h"
#include "moe-runtime/Arena.h"
#include "moe-runtime/Backend.h"
#include "moe-runtime/MachineMemory.h"
#include "moe-runtime/MemoryFile.h"
#include "moe-runtime/WaitPace.h"

#include <cstring>
#include <unistd.h>

using namespace moe::rt;

namespace {
class HostBackend : public Backend {
public:
  HostBackend(std::shared_ptr<HostAddressSpace> space, int ranks)
      : space(std::move(space)), ranks(ranks), limits(ranks) {}

  const char *name() const override { return "host"; }
  Status checkArtifact(const Manifest &manifest) override;
  std::shared_ptr<Memory> createMemory() override {
    return std::make_shared<Arena>();
  }
  size_t granularity() const override { return size_t(2) << 20; }
  size_t memoryBytes() const override;
  size_t freeBytes() const override {
    return availableMemoryBytes() / size_t(ranks);
  }
  Expected<char *> reserve(size_t bytes) override {
    return space->reserve(bytes);
  }
  void release(char *base, size_t bytes) override {
    space->release(base, bytes);
  }
  Expected<ChunkHandle> createChunk(size_t bytes) override;
  Status mapChunk(const ChunkHandle &chunk, char *address,
                  size_t bytes) override {
    return space->map(chunk.fd.get(), address, bytes);
  }
  void unmapChunk(char *address, size_t bytes) override {
    space->unmap(address, bytes);
  }

  Status zero(void *symm, size_t bytes) override {
    std::memset(symm, 0, bytes);
    return Status::ok();
  }
  Status copyIn(void *symm, const void *host, size_t bytes) override {
    std::memcpy(symm, host, bytes);
    return Status::ok();
  }
  Status copyOut(void *host, const void *symm, size_t bytes) override {
    std::memcpy(host, symm, bytes);
    return Status::ok();
  }
  Status signal(uint64_t *flag, uint64_t value) override {
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
    return Status::ok();
  }
  Status wait(const uint64_t *flag, uint64_t value, WaitGuard &guard) override;
  void invoke(EntryFunction entry, void **args) override { entry(args); }

private:
  std::shared_ptr<HostAddressSpace> space;
  int ranks;
  WaitPace::Limits limits;
};
} // namespace

Status HostBackend::checkArtifact(const Manifest &manifest) {
  if (manifest.target != "host")
    return makeError(MOERT_UNAVAILABLE,
                     "the artifact is for target '%s', which the host backend "
                     "cannot run",
                     manifest.target.c_str());
  return checkCpuLevel(manifest.cpu);
}

size_t HostBackend::memoryBytes() const {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  if (pages <= 0 || page <= 0)
    return SIZE_MAX;
  return size_t(pages) * size_t(page) / size_t(ranks);
}

Expected<ChunkHandle> HostBackend::createChunk(size_t bytes) {
  auto file = createMemoryFile(bytes);
  if (!file.isOk())
    return file.status();
  return ChunkHandle{file.take(), {}, nullptr};
}

Status HostBackend::wait(const uint64_t *flag, uint64_t value,
                         WaitGuard &guard) {
  auto load = [&] { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); };
  WaitPace pace(limits);
  while (load() < value) {
    bool isTimeToAsk = pace.pause([&](int64_t ns) { guard.sleep(ns); });
    if (!isTimeToAsk)
      continue;
    uint64_t seen = load();
    if (seen >= value)
      break;
    if (Status status = guard.check(seen); !status.isOk())
      // The flag may have come just before its writer left.
      return load() >= value && status.code() == MOERT_PEER_FAILED
                 ? Status::ok()
                 : status;
  }
  return Status::ok();
}

Expected<std::unique_ptr<Backend>>
moe::rt::createHostBackend(Bootstrap &bootstrap) {
  std::shared_ptr<HostAddressSpace> space;
  if (LocalGroup *local = bootstrap.localGroup())
    space = local->share<HostAddressSpace>("host-address-space", [] {
      return std::make_shared<HostAddressSpace>();
    });
  else
    space = std::make_shared<HostAddressSpace>();
  return std::unique_ptr<Backend>(
      new HostBackend(std::move(space), bootstrap.size()));
}
