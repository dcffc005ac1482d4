//===- Module.cpp - kernels of an artifact --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Module.h"

#include <algorithm>
#include <cctype>
#include <cstring>

using namespace moe::rt;
using namespace moe::rt::cuda;

std::vector<std::string> moe::rt::cuda::listKernels(const char *ptx) {
  static constexpr char keyword[] = ".entry";
  std::vector<std::string> names;
  for (const char *at = std::strstr(ptx, keyword); at;
       at = std::strstr(at, keyword)) {
    at += sizeof(keyword) - 1;
    const char *name = at;
    while (std::isspace(static_cast<unsigned char>(*name)))
      ++name;
    size_t length = std::strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_$%");
    if (name != at && length)
      names.emplace_back(name, length);
  }
  return names;
}

Expected<std::unique_ptr<Module>> Module::load(std::shared_ptr<Gpu> gpu,
                                               const char *image) {
  Current current(*gpu);
  RelaxedCapture relaxed(gpu->driver());
  std::unique_ptr<Module> module(new Module(gpu));
  void *memory = nullptr;
  if (Status s = gpu->check(
          gpu->driver().memHostAlloc(&memory, 4096, hostAllocPortableMapped),
          "allocating pinned memory");
      !s.isOk())
    return s;
  std::memset(memory, 0, 4096);
  module->hostRecord = static_cast<moert_device_record *>(memory);
  DevicePtr mapped = 0;
  if (Status s =
          gpu->check(gpu->driver().memHostGetDevicePointer(&mapped, memory, 0),
                     "mapping pinned memory");
      !s.isOk())
    return s;
  module->mappedRecord = reinterpret_cast<moert_device_record *>(mapped);
  if (image)
    if (Status s = module->loadImage(image); !s.isOk())
      return s;
  return module;
}

Status Module::loadImage(const char *image) {
  const Driver &api = gpu->driver();
  std::vector<char> log(8192);
  int options[2] = {jitErrorLog, jitErrorLogBytes};
  void *values[2] = {log.data(), reinterpret_cast<void *>(log.size() - 1)};
  Result result = api.moduleLoadDataEx(&handle, image, 2, options, values);
  if (result == errorUnsupportedPtx) {
    int version = 0;
    api.driverGetVersion(&version);
    const char *line = std::strstr(image, ".version");
    return makeError(MOERT_UNAVAILABLE,
                     "%s: the driver, for CUDA %d.%d, is too old for the "
                     "artifact's PTX (%.*s)",
                     gpu->str().c_str(), version / 1000, version % 1000 / 10,
                     line ? int(std::strcspn(line, "\n")) : 0,
                     line ? line : "");
  }
  if (result != success)
    return makeError(
        result == errorNoBinary ? MOERT_ABI_MISMATCH : MOERT_INTERNAL,
        "%s: cannot load the kernels: %s%s%s", gpu->str().c_str(),
        api.describe(result).c_str(), log[0] ? ": " : "", log.data());
  // The names of an ELF file's kernels are looked up when they are launched;
  // with its module they have been loaded.
  if (std::strncmp(image, "\177ELF", 4) == 0)
    return Status::ok();
  for (const std::string &name : listKernels(image))
    if (auto kernel = findKernel(name.c_str()); !kernel.isOk())
      return kernel.status();
  return Status::ok();
}

Expected<Module::Kernel *> Module::findKernel(const char *name) {
  auto it = kernels.find(std::string_view(name));
  if (it != kernels.end())
    return &it->second;
  const Driver &api = gpu->driver();
  RelaxedCapture relaxed(api);
  Kernel kernel;
  if (!handle ||
      api.moduleGetFunction(&kernel.function, handle, name) != success)
    return makeError(MOERT_INTERNAL, "the artifact has no kernel '%s'", name);
  // Has a lazy driver load it now.
  int registers = 0;
  if (Status s = gpu->check(api.functionGetAttribute(
                                &registers, functionRegisters, kernel.function),
                            name);
      !s.isOk())
    return s;
  // What a kernel may use without asking, less what it has by itself.
  int staticBytes = 0;
  if (Status s = gpu->check(api.functionGetAttribute(&staticBytes,
                                                     functionStaticSharedBytes,
                                                     kernel.function),
                            name);
      !s.isOk())
    return s;
  kernel.sharedLimit -= staticBytes;
  return &kernels.emplace(name, kernel).first->second;
}

Module::~Module() {
  Current current(*gpu);
  RelaxedCapture relaxed(gpu->driver());
  if (handle)
    gpu->driver().moduleUnload(handle);
  if (hostRecord)
    gpu->driver().memFreeHost(hostRecord);
}

Expected<int64_t> Module::countResident(Kernel &kernel,
                                        const KernelLaunch &launch) {
  auto [it, isNew] = kernel.residentBlocks.try_emplace(
      {launch.threads, launch.sharedBytes}, 0);
  if (!isNew)
    return it->second;
  const Driver &api = gpu->driver();
  if (launch.sharedBytes > kernel.sharedLimit) {
    if (Status s = gpu->check(
            api.functionSetAttribute(kernel.function, functionMaxSharedBytes,
                                     static_cast<int>(launch.sharedBytes)),
            "reserving shared memory");
        !s.isOk())
      return s;
    kernel.sharedLimit = static_cast<int>(launch.sharedBytes);
  }
  int perMultiprocessor = 0;
  if (Status s = gpu->check(api.occupancy(&perMultiprocessor, kernel.function,
                                          static_cast<int>(launch.threads),
                                          launch.sharedBytes),
                            "asking how many blocks fit");
      !s.isOk())
    return s;
  if (perMultiprocessor < 1)
    return makeError(MOERT_INTERNAL,
                     "%s: no block of kernel '%s' with %lld threads and %lld "
                     "bytes of shared memory fits",
                     gpu->str().c_str(), launch.kernel,
                     (long long)launch.threads, (long long)launch.sharedBytes);
  it->second = int64_t(perMultiprocessor) * gpu->multiprocessors();
  return it->second;
}

Status Module::launch(const KernelLaunch &launch, StreamHandle stream,
                      int ranksOnGpu) {
  auto kernel = findKernel(launch.kernel);
  if (!kernel.isOk())
    return kernel.status();
  if (launch.threads < 1 || launch.threads > 1024 || launch.sharedBytes < 0 ||
      launch.sharedBytes > INT32_MAX)
    return makeError(MOERT_INTERNAL,
                     "kernel '%s': %lld threads and %lld bytes of shared "
                     "memory are out of range",
                     launch.kernel, (long long)launch.threads,
                     (long long)launch.sharedBytes);
  auto resident = countResident(**kernel, launch);
  if (!resident.isOk())
    return resident.status();
  int64_t most = std::max<int64_t>(1, *resident / ranksOnGpu);
  int64_t blocks = std::max<int64_t>(1, std::min(launch.blocks, most));
  return gpu->check(gpu->driver().launchKernel(
                        (*kernel)->function, static_cast<unsigned>(blocks), 1,
                        1, static_cast<unsigned>(launch.threads), 1, 1,
                        static_cast<unsigned>(launch.sharedBytes), stream,
                        launch.params, nullptr),
                    launch.kernel);
}
