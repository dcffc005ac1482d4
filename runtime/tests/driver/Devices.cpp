//===- Devices.cpp - devices, contexts and errors of the stand-in ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <unistd.h>

using namespace moe::standin;

static std::atomic<pid_t> initializedIn{0};

namespace {
/// The contexts of a thread, the current one last. A plain array, for which no
/// memory has to be freed when the thread ends.
struct Contexts {
  ContextHandle all[16];
  size_t count;
};
} // namespace
static thread_local Contexts contexts
    __attribute__((tls_model("initial-exec")));

static int environment(const char *name, int otherwise) {
  const char *text = std::getenv(name);
  return text && *text ? std::atoi(text) : otherwise;
}

static int numDevices() {
  static const int number = environment("MOE_STANDIN_GPUS", 4);
  return number;
}

static bool isDevice(Device device) {
  return device >= 0 && device < numDevices();
}

/// A context is its device; null is none.
static ContextHandle contextOf(Device device) {
  return reinterpret_cast<ContextHandle>(intptr_t(device) + 1);
}

Result moe::standin::checkContext() {
  // Like CUDA, it does not survive a fork.
  if (initializedIn != getpid())
    return errorNotInitialized;
  if (contexts.count == 0)
    return errorInvalidContext;
  return isFaulted() ? Result(errorLaunchFailed) : Result(success);
}

Result cuInit(unsigned flags) {
  if (flags)
    return errorInvalidValue;
  pid_t before = 0;
  if (!initializedIn.compare_exchange_strong(before, getpid()) &&
      before != getpid())
    return errorNotInitialized;
  return numDevices() > 0 ? success : errorNoDevice;
}

Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return success;
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

static const char *textOf(Result error) {
  switch (error) {
  case success:
    return "no error";
  case errorInvalidValue:
    return "invalid argument";
  case errorOutOfMemory:
    return "out of memory";
  case errorNotInitialized:
    return "initialization error";
  case errorNoDevice:
    return "no CUDA-capable device is detected";
  case errorInvalidContext:
    return "invalid device context";
  case errorNoBinary:
    return "no kernel image is available for execution on the device";
  case errorNotMapped:
    return "not mapped";
  case errorInvalidHandle:
    return "invalid resource handle";
  case errorNotFound:
    return "named symbol not found";
  case errorLaunchFailed:
    return "unspecified launch failure";
  case errorInvalidPtx:
    return "a PTX JIT compilation failed";
  case errorNotReady:
    return "device not ready";
  case errorCaptureUnsupported:
    return "operation not permitted when stream is capturing";
  case errorCaptureInvalidated:
    return "operation failed due to a previous error during capture";
  default:
    return nullptr;
  }
}

Result cuGetErrorString(Result error, const char **text) {
  *text = textOf(error);
  return *text ? success : errorInvalidValue;
}

Result cuGetErrorName(Result error, const char **name) {
  static thread_local char text[32];
  std::snprintf(text, sizeof(text), "STANDIN_ERROR_%d", error);
  *name = text;
  return success;
}

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

Result cuDeviceGetCount(int *count) {
  *count = numDevices();
  return success;
}

Result cuDeviceGet(Device *device, int ordinal) {
  *device = ordinal;
  return isDevice(ordinal) ? success : errorInvalidValue;
}

Result cuDeviceGetName(char *name, int bytes, Device device) {
  std::snprintf(name, bytes, "stand-in");
  return isDevice(device) ? success : errorInvalidValue;
}

Result cuDeviceGetUuid_v2(Uuid *uuid, Device device) {
  std::memset(uuid, 0, sizeof(*uuid));
  uuid->bytes[0] = static_cast<char>(device + 1);
  return isDevice(device) ? success : errorInvalidValue;
}

Result cuDeviceTotalMem_v2(size_t *bytes, Device device) {
  *bytes = deviceBytes;
  return isDevice(device) ? success : errorInvalidValue;
}

Result cuDeviceGetAttribute(int *value, int attribute, Device device) {
  if (!isDevice(device))
    return errorInvalidValue;
  switch (attribute) {
  case attributeMultiprocessors:
    *value = numProcessors;
    return success;
  case attributeMajor:
    *value = 9;
    return success;
  case attributeMinor:
  case attributeFabricHandles:
    *value = 0;
    return success;
  case attributeVirtualMemory:
  case attributePosixHandles:
    *value = 1;
    return success;
  default:
    return errorInvalidValue;
  }
}

Result cuDeviceCanAccessPeer(int *can, Device device, Device peer) {
  *can = device != peer && !environment("MOE_STANDIN_APART", 0);
  return isDevice(device) && isDevice(peer) ? success : errorInvalidValue;
}

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

Result cuDevicePrimaryCtxRetain(ContextHandle *context, Device device) {
  if (initializedIn != getpid())
    return errorNotInitialized;
  *context = contextOf(device);
  return isDevice(device) ? success : errorInvalidValue;
}

Result cuDevicePrimaryCtxRelease_v2(Device device) {
  return isDevice(device) ? success : errorInvalidValue;
}

Result cuCtxPushCurrent_v2(ContextHandle context) {
  if (!context || contexts.count == std::size(contexts.all))
    return errorInvalidContext;
  contexts.all[contexts.count++] = context;
  return success;
}

Result cuCtxPopCurrent_v2(ContextHandle *context) {
  if (contexts.count == 0)
    return errorInvalidContext;
  *context = contexts.all[--contexts.count];
  return success;
}

/// Takes the place of the current one.
Result cuCtxSetCurrent(ContextHandle context) {
  if (contexts.count)
    --contexts.count;
  return context ? cuCtxPushCurrent_v2(context) : success;
}

Result cuCtxGetDevice(Device *device) {
  if (Result r = checkContext())
    return r;
  auto context = reinterpret_cast<intptr_t>(contexts.all[contexts.count - 1]);
  *device = static_cast<Device>(context - 1);
  return success;
}
