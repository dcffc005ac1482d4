//===- Modules.cpp - modules and kernels of the stand-in ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuKernel.h"
#include "StandIn.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace moe::standin;

constexpr int freeSharedBytes = 48 << 10;
constexpr int mostSharedBytes = 227 << 10;

namespace {
struct Function {
  const moe_cpu_kernel *kernel = nullptr; ///< null: one that does nothing
  int sharedLimit = freeSharedBytes;
};
struct Module {
  void *library = nullptr; ///< null: PTX
  std::string text;
  std::mutex mutex;
  std::map<std::string, Function> functions;
};
} // namespace

/// How long an image is, as its headers tell.
static size_t bytesOf(const void *image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof(header));
  size_t end = header.e_shoff + size_t(header.e_shnum) * header.e_shentsize;
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment,
                static_cast<const char *>(image) + header.e_phoff +
                    size_t(i) * header.e_phentsize,
                sizeof(segment));
    end = std::max<size_t>(end, segment.p_offset + segment.p_filesz);
  }
  return end;
}

static void *openLibrary(const void *image) {
  int fd = memfd_create("image", MFD_CLOEXEC);
  if (fd < 0)
    return nullptr;
  const char *next = static_cast<const char *>(image);
  size_t left = bytesOf(image);
  while (left) {
    ssize_t written = write(fd, next, left);
    if (written <= 0)
      break;
    next += written;
    left -= size_t(written);
  }
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  void *library = left ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  close(fd);
  return library;
}

static void explain(const char *text, unsigned count, const int *options,
                    void **values) {
  const void *bytes = nullptr;
  char *log = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == jitErrorLog)
      log = static_cast<char *>(values[i]);
    if (options[i] == jitErrorLogBytes)
      bytes = values[i];
  }
  if (log && bytes)
    std::strncpy(log, text, reinterpret_cast<size_t>(bytes));
}

Result cuModuleLoadDataEx(ModuleHandle *out, const void *image, unsigned count,
                          int *options, void **values) {
  if (Result r = checkUnsafe())
    return r;
  auto module = std::make_unique<Module>();
  if (std::memcmp(image, ELFMAG, SELFMAG) == 0) {
    module->library = openLibrary(image);
    if (!module->library) {
      explain(dlerror(), count, options, values);
      return errorNoBinary;
    }
  } else if (const char *idle = std::getenv("MOE_STANDIN_IDLE");
             idle && std::strcmp(idle, "1") == 0) {
    module->text = static_cast<const char *>(image);
  } else {
    explain("PTX, which only a GPU runs", count, options, values);
    return errorNoBinary;
  }
  *out = reinterpret_cast<ModuleHandle>(module.release());
  return success;
}

Result cuModuleUnload(ModuleHandle handle) {
  if (Result r = checkUnsafe())
    return r;
  // The library stays, for kernels that are still running.
  delete reinterpret_cast<Module *>(handle);
  return success;
}

Result cuModuleGetFunction(FunctionHandle *out, ModuleHandle handle,
                           const char *name) {
  if (Result r = checkContext())
    return r;
  auto *module = reinterpret_cast<Module *>(handle);
  Function function;
  if (module->library) {
    function.kernel = static_cast<const moe_cpu_kernel *>(
        dlsym(module->library, (std::string(name) + "_on_cpu").c_str()));
    if (!function.kernel)
      return errorNotFound;
  } else if (module->text.find(".entry " + std::string(name) + "(") ==
             std::string::npos) {
    return errorNotFound;
  }
  std::lock_guard<std::mutex> lock(module->mutex);
  auto it = module->functions.emplace(name, function).first;
  *out = reinterpret_cast<FunctionHandle>(&it->second);
  return success;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

Result cuFuncGetAttribute(int *value, int attribute, FunctionHandle) {
  if (Result r = checkContext())
    return r;
  *value = attribute == functionRegisters ? 32 : 0;
  return attribute == functionRegisters ||
                 attribute == functionStaticSharedBytes
             ? success
             : errorInvalidValue;
}

Result cuFuncSetAttribute(FunctionHandle handle, int attribute, int value) {
  if (Result r = checkContext())
    return r;
  if (attribute != functionMaxSharedBytes || value < 0 ||
      value > mostSharedBytes)
    return errorInvalidValue;
  reinterpret_cast<Function *>(handle)->sharedLimit = value;
  return success;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks,
                                                   FunctionHandle handle,
                                                   int threads,
                                                   size_t sharedBytes) {
  if (Result r = checkContext())
    return r;
  auto *function = reinterpret_cast<Function *>(handle);
  *blocks = sharedBytes <= size_t(function->sharedLimit) ? 2048 / threads : 0;
  return threads >= 1 && threads <= 1024 ? success : errorInvalidValue;
}

Result cuLaunchKernel(FunctionHandle handle, unsigned blocks, unsigned blocksY,
                      unsigned blocksZ, unsigned threads, unsigned threadsY,
                      unsigned threadsZ, unsigned sharedBytes,
                      StreamHandle stream, void **params, void **extra) {
  if (Result r = checkContext())
    return r;
  auto *function = reinterpret_cast<Function *>(handle);
  bool isFlat = blocksY == 1 && blocksZ == 1 && threadsY == 1 && threadsZ == 1;
  if (!isFlat || !blocks || !threads || threads > 1024 || extra ||
      sharedBytes > unsigned(function->sharedLimit))
    return errorInvalidValue;
  const moe_cpu_kernel *kernel = function->kernel;
  if (!kernel)
    return success;
  // The arguments are those of now.
  std::vector<std::vector<char>> copies;
  for (int64_t i = 0; i < kernel->numParams; ++i) {
    const char *bytes = static_cast<const char *>(params[i]);
    copies.emplace_back(bytes, bytes + kernel->paramBytes[i]);
  }
  moe_cpu_grid grid{blocks, threads, sharedBytes};
  return enqueue(stream, [kernel, grid, copies]() mutable {
    std::vector<void *> arguments;
    for (std::vector<char> &copy : copies)
      arguments.push_back(copy.data());
    kernel->run(arguments.data(), &grid);
  });
}
