//===- Modules.cpp - modules and kernels of the stand-in ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxGrid.h"
#include "StandIn.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

using namespace moe::standin;

constexpr int freeSharedBytes = 48 << 10;
constexpr int mostSharedBytes = 227 << 10;

namespace {
struct LoadedKernel {
  std::shared_ptr<Program> program;
  const Function *function = nullptr;
  int sharedLimit = freeSharedBytes;
};
struct Module {
  std::shared_ptr<Program> program;
  std::mutex mutex;
  std::map<std::string, LoadedKernel> kernels;
};
} // namespace

static std::atomic<bool> hasFaulted{false};

bool moe::standin::isFaulted() { return hasFaulted; }

static void explain(const std::string &text, unsigned count, const int *options,
                    void **values) {
  size_t bytes = 0;
  char *log = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == jitErrorLog)
      log = static_cast<char *>(values[i]);
    if (options[i] == jitErrorLogBytes)
      bytes = reinterpret_cast<size_t>(values[i]);
  }
  if (log && bytes)
    std::snprintf(log, bytes, "%s", text.c_str());
}

Result cuModuleLoadDataEx(ModuleHandle *out, const void *image, unsigned count,
                          int *options, void **values) {
  if (Result r = checkUnsafe())
    return r;
  const char *text = static_cast<const char *>(image);
  if (std::strncmp(text, "\177ELF", 4) == 0) {
    explain("machine code, which only a GPU runs", count, options, values);
    return errorNoBinary;
  }
  std::string error;
  auto module = std::make_unique<Module>();
  module->program = parsePtx(text, error);
  if (!module->program) {
    explain(error, count, options, values);
    return errorInvalidPtx;
  }
  *out = reinterpret_cast<ModuleHandle>(module.release());
  return success;
}

/// Kernels that run keep their program.
Result cuModuleUnload(ModuleHandle handle) {
  if (Result r = checkUnsafe())
    return r;
  delete reinterpret_cast<Module *>(handle);
  return success;
}

Result cuModuleGetFunction(FunctionHandle *out, ModuleHandle handle,
                           const char *name) {
  if (Result r = checkContext())
    return r;
  auto *module = reinterpret_cast<Module *>(handle);
  auto it = module->program->kernels.find(name);
  if (it == module->program->kernels.end())
    return errorNotFound;
  std::lock_guard<std::mutex> lock(module->mutex);
  LoadedKernel &kernel = module->kernels[name];
  kernel.program = module->program;
  kernel.function = it->second.get();
  *out = reinterpret_cast<FunctionHandle>(&kernel);
  return success;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

Result cuFuncGetAttribute(int *value, int attribute, FunctionHandle handle) {
  if (Result r = checkContext())
    return r;
  auto *kernel = reinterpret_cast<LoadedKernel *>(handle);
  *value = attribute == functionRegisters ? 32 : kernel->program->sharedBytes;
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
  reinterpret_cast<LoadedKernel *>(handle)->sharedLimit = value;
  return success;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks,
                                                   FunctionHandle handle,
                                                   int threads,
                                                   size_t sharedBytes) {
  if (Result r = checkContext())
    return r;
  auto *kernel = reinterpret_cast<LoadedKernel *>(handle);
  // One is enough: what more there are cost time.
  *blocks = sharedBytes <= size_t(kernel->sharedLimit) ? 1 : 0;
  return threads >= 1 && threads <= 1024 ? success : errorInvalidValue;
}

/// Seeds of launches differ, and follow from MOE_STANDIN_SEED and the order of
/// the process's launches.
static uint64_t nextSeed() {
  static std::atomic<uint64_t> launches{0};
  const char *text = std::getenv("MOE_STANDIN_SEED");
  uint64_t seed = text ? std::strtoull(text, nullptr, 10) : 0;
  return seed * 1000003 + launches++;
}

static void runKernel(const LoadedKernel &kernel, const GridShape &shape,
                      const std::vector<char> &arguments, uint64_t seed) {
  try {
    Grid(*kernel.program, *kernel.function, shape, arguments, seed).run();
  } catch (const Fault &fault) {
    std::fprintf(stderr, "stand-in driver: %s\n", fault.what());
    hasFaulted = true;
  }
}

Result cuLaunchKernel(FunctionHandle handle, unsigned blocks, unsigned blocksY,
                      unsigned blocksZ, unsigned threads, unsigned threadsY,
                      unsigned threadsZ, unsigned sharedBytes,
                      StreamHandle stream, void **params, void **extra) {
  if (Result r = checkContext())
    return r;
  LoadedKernel kernel = *reinterpret_cast<LoadedKernel *>(handle);
  bool isFlat = blocksY == 1 && blocksZ == 1 && threadsY == 1 && threadsZ == 1;
  // Kernels of which some blocks wait for others need all at a time.
  if (blocks > unsigned(numProcessors)) {
    std::fprintf(stderr, "stand-in driver: %u blocks, of which %d fit\n",
                 blocks, numProcessors);
    return errorInvalidValue;
  }
  if (!isFlat || !blocks || !threads || threads > 1024 || extra ||
      sharedBytes > unsigned(kernel.sharedLimit))
    return errorInvalidValue;
  static const char *idle = std::getenv("MOE_STANDIN_IDLE");
  if (idle && std::strcmp(idle, "1") == 0)
    return success;
  // The arguments are those of now.
  std::vector<char> arguments(kernel.function->paramBytes);
  for (size_t i = 0; i < kernel.function->params.size(); ++i) {
    const ParamSlot &slot = kernel.function->params[i];
    std::memcpy(arguments.data() + slot.offset, params[i], slot.bytes);
  }
  GridShape shape{blocks, threads, sharedBytes};
  // Each replay of a graph has a schedule of its own.
  auto seed = std::make_shared<std::atomic<uint64_t>>(nextSeed() << 20);
  return enqueue(stream,
                 [kernel, shape, seed, arguments = std::move(arguments)] {
                   runKernel(kernel, shape, arguments, (*seed)++);
                 });
}
