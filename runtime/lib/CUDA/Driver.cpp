//===- Driver.cpp - the functions of the CUDA driver ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

#include <dlfcn.h>
#include <mutex>

using namespace moe::rt;
using namespace moe::rt::cuda;

static Status lookUp(void *library, const char *symbol, void **out) {
  *out = dlsym(library, symbol);
  if (*out)
    return Status::ok();
  return makeError(MOERT_UNAVAILABLE,
                   "the CUDA driver is too old: it lacks %s, which drivers for "
                   "CUDA %d.%d and later have",
                   symbol, Driver::oldestVersion / 1000,
                   Driver::oldestVersion % 1000 / 10);
}

Status moe::rt::cuda::openDriver(const char *path, Driver &out) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *text = dlerror();
    return makeError(MOERT_UNAVAILABLE, "there is no CUDA driver: %s",
                     text ? text : path);
  }
  // The version first, since an old driver lacks functions.
  if (Status s = lookUp(library, "cuDriverGetVersion",
                        reinterpret_cast<void **>(&out.driverGetVersion));
      !s.isOk())
    return s;
  int version = 0;
  if (out.driverGetVersion(&version) == success &&
      version < Driver::oldestVersion)
    return makeError(MOERT_UNAVAILABLE,
                     "the CUDA driver is too old: it is for CUDA %d.%d, and "
                     "%d.%d is the oldest that works",
                     version / 1000, version % 1000 / 10,
                     Driver::oldestVersion / 1000,
                     Driver::oldestVersion % 1000 / 10);
#define MOERT_CUDA_LOOKUP(name, symbol, ...)                                   \
  if (Status s =                                                               \
          lookUp(library, #symbol, reinterpret_cast<void **>(&out.name));      \
      !s.isOk())                                                               \
    return s;
  MOERT_CUDA_FUNCTIONS(MOERT_CUDA_LOOKUP)
#undef MOERT_CUDA_LOOKUP
  return Status::ok();
}

static Status openAndInitialize(Driver &driver) {
  if (Status s = openDriver("libcuda.so.1", driver); !s.isOk())
    return s;
  Result result = driver.init(0);
  int count = 0;
  if (result == success)
    result = driver.deviceGetCount(&count);
  if (result == errorNoDevice || (result == success && count == 0))
    return Status(MOERT_UNAVAILABLE, "the CUDA driver sees no GPU");
  if (result != success)
    return makeError(MOERT_UNAVAILABLE,
                     "the CUDA driver cannot be initialized: %s",
                     driver.describe(result).c_str());
  return Status::ok();
}

Expected<const Driver *> Driver::get() {
  static Driver driver;
  static Status status;
  static std::once_flag once;
  std::call_once(once, [] { status = openAndInitialize(driver); });
  if (!status.isOk())
    return status;
  return &driver;
}

std::string Driver::describe(Result result) const {
  const char *name = nullptr, *text = nullptr;
  if (getErrorName(result, &name) != success || !name)
    return format("error %d of the CUDA driver", result);
  if (getErrorString(result, &text) != success || !text)
    text = "no text";
  return format("%s (%s)", name, text);
}

Status Driver::check(Result result, const char *what) const {
  if (result == success)
    return Status::ok();
  return makeError(result == errorOutOfMemory ? MOERT_OUT_OF_MEMORY
                                              : MOERT_INTERNAL,
                   "%s: %s", what, describe(result).c_str());
}
