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
#include <elf.h>

using namespace moe::rt;
using namespace moe::rt::cuda;

static bool isElf(std::string_view image) {
  return image.substr(0, SELFMAG) == std::string_view(ELFMAG, SELFMAG);
}

static std::vector<std::string> listKernelsOfPtx(std::string_view ptx) {
  static constexpr std::string_view keyword = ".entry";
  std::vector<std::string> names;
  for (size_t at = ptx.find(keyword); at != ptx.npos;
       at = ptx.find(keyword, at)) {
    at += keyword.size();
    size_t name = at;
    while (name < ptx.size() &&
           std::isspace(static_cast<unsigned char>(ptx[name])))
      ++name;
    size_t end =
        std::min(ptx.size(), ptx.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                   "0123456789_$%",
                                                   name));
    if (name != at && end > name)
      names.emplace_back(ptx.substr(name, end - name));
  }
  return names;
}

/// Each kernel, and nothing else, has a section with its parameters' values.
static std::vector<std::string> listKernelsOfElf(std::string_view image) {
  static constexpr std::string_view prefix = ".nv.constant0.";
  std::vector<std::string> names;
  Elf64_Ehdr header;
  if (image.size() < sizeof(header))
    return names;
  std::memcpy(&header, image.data(), sizeof(header));
  auto sectionAt = [&](size_t index, Elf64_Shdr &section) {
    size_t at = header.e_shoff + index * sizeof(section);
    if (at > image.size() || image.size() - at < sizeof(section))
      return false;
    std::memcpy(&section, image.data() + at, sizeof(section));
    return true;
  };
  Elf64_Shdr strings, section;
  if (!sectionAt(header.e_shstrndx, strings) ||
      strings.sh_offset > image.size())
    return names;
  std::string_view texts = image.substr(strings.sh_offset, strings.sh_size);
  for (size_t i = 0; i < header.e_shnum && sectionAt(i, section); ++i) {
    if (section.sh_name >= texts.size())
      continue;
    std::string_view name = texts.substr(section.sh_name);
    name = name.substr(0, name.find('\0'));
    if (name.substr(0, prefix.size()) == prefix)
      names.emplace_back(name.substr(prefix.size()));
  }
  return names;
}

std::vector<std::string> moe::rt::cuda::listKernels(std::string_view image) {
  return isElf(image) ? listKernelsOfElf(image) : listKernelsOfPtx(image);
}

Expected<std::unique_ptr<Module>> Module::load(std::shared_ptr<Gpu> gpu,
                                               std::string_view image) {
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
  if (!image.empty())
    if (Status s = module->loadImage(image); !s.isOk())
      return s;
  return module;
}

Status Module::loadImage(std::string_view image) {
  const Driver &api = gpu->driver();
  std::vector<char> log(8192);
  int options[2] = {jitErrorLog, jitErrorLogBytes};
  void *values[2] = {log.data(), reinterpret_cast<void *>(log.size() - 1)};
  Result result =
      api.moduleLoadDataEx(&handle, image.data(), 2, options, values);
  if (result == errorUnsupportedPtx) {
    int version = 0;
    api.driverGetVersion(&version);
    std::string_view line =
        image.substr(std::min(image.size(), image.find(".version")));
    line = line.substr(0, line.find('\n'));
    return makeError(MOERT_UNAVAILABLE,
                     "%s: the driver, for CUDA %d.%d, is too old for the "
                     "artifact's PTX (%.*s)",
                     gpu->str().c_str(), version / 1000, version % 1000 / 10,
                     int(line.size()), line.data());
  }
  if (result != success)
    return makeError(
        result == errorNoBinary ? MOERT_ABI_MISMATCH : MOERT_INTERNAL,
        "%s: cannot load the kernels: %s%s%s", gpu->str().c_str(),
        api.describe(result).c_str(), log[0] ? ": " : "", log.data());
  // By default the driver loads a kernel when it is first asked for.
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
