//===- Backend.cpp - what backends have in common -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Backend.h"

#include <algorithm>
#include <chrono>
#include <thread>

using namespace moe::rt;

Backend::~Backend() = default;
Memory::~Memory() = default;
Program::~Program() = default;
WaitGuard::~WaitGuard() = default;

void WaitGuard::sleep(int64_t mostNs) {
  // Nobody wakes it: it looks again soon.
  constexpr int64_t shortNs = 100000;
  std::this_thread::sleep_for(
      std::chrono::nanoseconds(std::min(mostNs, shortNs)));
}

Expected<std::unique_ptr<Backend>>
moe::rt::createBackend(const std::string &name, Bootstrap &bootstrap,
                       int device) {
  if (name == "host")
    return createHostBackend(bootstrap);
  if (name == "cuda")
    return createCudaBackend(bootstrap, device);
  return makeError(MOERT_UNAVAILABLE,
                   "expected the backend 'host' or 'cuda', got '%s'",
                   name.c_str());
}

//===----------------------------------------------------------------------===//
// Without a device
//===----------------------------------------------------------------------===//

static Status noDevice(const Backend &backend, const char *what) {
  return makeError(MOERT_INTERNAL, "the %s backend has no %s", backend.name(),
                   what);
}

Expected<std::unique_ptr<Program>> Backend::loadProgram(std::string_view) {
  return std::unique_ptr<Program>();
}

Status Backend::beginCall(const StreamRef &stream) {
  if (stream.handle)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "the %s backend has no streams: expected NULL", name());
  return Status::ok();
}

Status Backend::launch(Program &, const KernelLaunch &) {
  return noDevice(*this, "kernels");
}

Status Backend::copy(void *, const void *, size_t) {
  return noDevice(*this, "device memory");
}

Expected<const void *> Backend::startRead(const void *, size_t &) {
  return noDevice(*this, "device memory");
}

Expected<char *> Backend::pinHostMemory(size_t) {
  return noDevice(*this, "device memory");
}

Expected<bool> Backend::isDone(const StreamRef &) { return true; }
