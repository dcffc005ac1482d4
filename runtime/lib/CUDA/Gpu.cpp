//===- Gpu.cpp - a GPU and its primary context ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Gpu.h"

#include <map>

using namespace moe::rt;
using namespace moe::rt::cuda;

Expected<int> Gpu::count() {
  auto driver = Driver::get();
  if (!driver.isOk())
    return driver.status();
  int number = 0;
  if (Status s =
          (*driver)->check((*driver)->deviceGetCount(&number), "counting GPUs");
      !s.isOk())
    return s;
  return number;
}

Expected<std::shared_ptr<Gpu>> Gpu::open(int ordinal) {
  auto driver = Driver::get();
  if (!driver.isOk())
    return driver.status();
  auto number = count();
  if (!number.isOk())
    return number.status();
  if (ordinal < 0 || ordinal >= *number)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "there is no GPU %d; this process sees %d", ordinal,
                     *number);
  static std::mutex mutex;
  // Never destroyed: threads may run until the process has ended.
  static auto &opened = *new std::map<int, std::weak_ptr<Gpu>>;
  std::lock_guard<std::mutex> lock(mutex);
  if (std::shared_ptr<Gpu> gpu = opened[ordinal].lock())
    return gpu;
  std::shared_ptr<Gpu> gpu(new Gpu(**driver));
  if (Status s = gpu->initialize(ordinal); !s.isOk())
    return s;
  opened[ordinal] = gpu;
  return gpu;
}

Status Gpu::initialize(int ordinal) {
  index = ordinal;
  if (Status s = api.check(api.deviceGet(&handle, ordinal), "opening a GPU");
      !s.isOk())
    return s;
  char text[256] = "";
  api.deviceGetName(text, sizeof(text), handle);
  deviceName = text;
  api.deviceGetUuid(&deviceUuid, handle);
  api.deviceTotalMem(&totalBytes, handle);
  int major = 0, minor = 0, hasVirtualMemory = 0;
  api.deviceGetAttribute(&numMultiprocessors, attributeMultiprocessors, handle);
  api.deviceGetAttribute(&major, attributeMajor, handle);
  api.deviceGetAttribute(&minor, attributeMinor, handle);
  api.deviceGetAttribute(&hasVirtualMemory, attributeVirtualMemory, handle);
  computeCapability = major * 10 + minor;
  if (!hasVirtualMemory)
    return makeError(MOERT_UNAVAILABLE,
                     "%s has no virtual memory management, which symmetric "
                     "memory needs",
                     str().c_str());
  if (Status s =
          check(api.primaryCtxRetain(&context, handle), "making the context");
      !s.isOk())
    return s;
  Current current(*this);
  AllocationProp prop = allocationProp(handleNone);
  if (Status s = check(api.memGranularity(&granularityBytes, &prop, 1),
                       "asking for the granularity of memory");
      !s.isOk())
    return s;
  return check(api.streamCreate(&copyStream, streamNonBlocking),
               "making a stream");
}

Gpu::~Gpu() {
  if (!context || getpid() != process)
    return;
  if (copyStream) {
    Current current(*this);
    api.streamDestroy(copyStream);
  }
  api.primaryCtxRelease(handle);
}

std::string Gpu::str() const {
  return format("GPU %d (%s)", index, deviceName.c_str());
}

Status Gpu::check(Result result, const char *what) const {
  if (result == success)
    return Status::ok();
  return api.check(result, what).withPrefix(str());
}

size_t Gpu::freeBytes() const {
  Current current(*this);
  size_t free = 0, total = 0;
  api.memGetInfo(&free, &total);
  return free;
}

AllocationProp Gpu::allocationProp(int handleTypes) const {
  AllocationProp prop{};
  prop.type = 1;
  prop.handleTypes = handleTypes;
  prop.location = {1, handle};
  return prop;
}

Status Gpu::copyNow(void *to, const void *from, size_t bytes) {
  if (!bytes)
    return Status::ok();
  Current current(*this);
  RelaxedCapture relaxed(api);
  // Kept together, so that each waits for its own copy alone.
  std::lock_guard<std::mutex> lock(copyMutex);
  if (Status s = check(api.memcpyAsync(toDevicePtr(to), toDevicePtr(from),
                                       bytes, copyStream),
                       "copying");
      !s.isOk())
    return s;
  return check(api.streamSynchronize(copyStream), "copying");
}

Status Gpu::zeroNow(void *to, size_t bytes) {
  if (!bytes)
    return Status::ok();
  Current current(*this);
  RelaxedCapture relaxed(api);
  std::lock_guard<std::mutex> lock(copyMutex);
  if (Status s = check(api.memsetD8Async(toDevicePtr(to), 0, bytes, copyStream),
                       "zeroing memory");
      !s.isOk())
    return s;
  return check(api.streamSynchronize(copyStream), "zeroing memory");
}

bool Gpu::settle() {
  if (getpid() != process)
    return false;
  Current current(*this);
  RelaxedCapture relaxed(api);
  return api.ctxSynchronize() == success;
}

Expected<char *> Gpu::mapPrivate(size_t bytes, int handleTypes) {
  Current current(*this);
  RelaxedCapture relaxed(api);
  AllocationProp prop = allocationProp(handleTypes);
  AllocationHandle memory;
  Result result = api.memCreate(&memory, bytes, &prop, 0);
  if (result == errorOutOfMemory)
    return makeError(MOERT_OUT_OF_MEMORY,
                     "%s: %zu bytes are wanted, and %zu of %zu are free",
                     str().c_str(), bytes, freeBytes(), totalBytes);
  if (Status s = check(result, "allocating memory"); !s.isOk())
    return s;
  DevicePtr address = 0;
  Status status = check(api.memAddressReserve(&address, bytes, 0, 0, 0),
                        "reserving addresses");
  bool isMapped = false;
  if (status.isOk()) {
    status = check(api.memMap(address, bytes, 0, memory, 0), "mapping memory");
    isMapped = status.isOk();
  }
  AccessDesc desc = access();
  if (status.isOk())
    status =
        check(api.memSetAccess(address, bytes, &desc, 1), "mapping memory");
  // The mapping keeps it.
  api.memRelease(memory);
  if (status.isOk())
    return reinterpret_cast<char *>(address);
  if (isMapped)
    api.memUnmap(address, bytes);
  if (address)
    api.memAddressFree(address, bytes);
  return status;
}

void Gpu::unmapPrivate(char *address, size_t bytes) {
  Current current(*this);
  RelaxedCapture relaxed(api);
  api.memUnmap(toDevicePtr(address), bytes);
  api.memAddressFree(toDevicePtr(address), bytes);
}
