//===- launch_cost.cpp - what a launch costs the CPU ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// moe-launch-cost RANKS CALLS HELD ARTIFACT ENTRY...
///
/// Times moert_entry_launch of each entry, with the release of its results, on
/// one rank while the others wait; the results of HELD earlier launches are
/// kept meanwhile, as those of a model's other layers are. Needs the stand-in
/// driver (runtime/tests/driver) with MOE_STANDIN_IDLE=1, whose own share is
/// next to nothing: kernels that did their work would wait for ranks whose turn
/// has not come. Ranks are threads. Prints nanoseconds: the median of rounds of
/// CALLS launches.
///
//===----------------------------------------------------------------------===//

#include "moe-runtime/Runtime.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <thread>
#include <vector>

namespace {
/// Where ranks meet.
class Meeting {
public:
  explicit Meeting(int size) : size(size) {}

  void gather(int rank, const void *data, size_t bytes, void *out) {
    std::unique_lock<std::mutex> lock(mutex);
    parts.resize(size);
    const char *begin = static_cast<const char *>(data);
    parts[rank].assign(begin, begin + bytes);
    meet(lock);
    for (int r = 0; r < size; ++r)
      if (bytes)
        std::memcpy(static_cast<char *>(out) + r * bytes, parts[r].data(),
                    bytes);
    meet(lock);
  }
  void meet() {
    std::unique_lock<std::mutex> lock(mutex);
    meet(lock);
  }

private:
  void meet(std::unique_lock<std::mutex> &lock) {
    int round = rounds;
    if (++arrived == size) {
      arrived = 0;
      ++rounds;
      changed.notify_all();
    }
    changed.wait(lock, [&] { return rounds != round; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::vector<char>> parts;
  int size, arrived = 0, rounds = 0;
};

struct Rank {
  Meeting *meeting;
  int rank;
};
} // namespace

static int32_t gather(void *state, const void *data, size_t bytes, void *out,
                      double) {
  auto *self = static_cast<Rank *>(state);
  self->meeting->gather(self->rank, data, bytes, out);
  return 0;
}

static void check(int code, const char *what) {
  if (code == 0)
    return;
  std::fprintf(stderr, "moe-launch-cost: %s: %s\n", what, moert_last_error());
  // Other ranks are at work, which statics must survive.
  std::fflush(nullptr);
  std::_Exit(1);
}

/// A stream of the current device; null where there is no driver.
static void *makeStream(int device) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library)
    return nullptr;
  auto retain = reinterpret_cast<int (*)(void **, int)>(
      dlsym(library, "cuDevicePrimaryCtxRetain"));
  auto push =
      reinterpret_cast<int (*)(void *)>(dlsym(library, "cuCtxPushCurrent_v2"));
  auto create = reinterpret_cast<int (*)(void **, unsigned)>(
      dlsym(library, "cuStreamCreate"));
  void *context = nullptr, *stream = nullptr;
  check(retain(&context, device), "retaining the context");
  check(push(context), "pushing the context");
  check(create(&stream, 1), "making a stream");
  return stream;
}

/// Inputs of an entry, in symmetric memory, which is the device's too.
static std::vector<DLTensor>
makeInputs(moert_context *context, moert_entry *entry,
           std::vector<std::vector<int64_t>> &shapes) {
  std::vector<DLTensor> inputs(moert_entry_num_args(entry));
  shapes.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    moert_tensor_type type;
    check(moert_entry_arg(entry, i, &type), "arguments");
    size_t bytes = (type.dtype.bits + 7) / 8;
    for (int d = 0; d < type.ndim; ++d) {
      shapes[i].push_back(std::max<int64_t>(type.shape[d], 1));
      bytes *= shapes[i].back();
    }
    void *memory = nullptr;
    check(moert_symm_alloc(context, bytes, &memory), "inputs");
    inputs[i] = {memory,
                 moert_context_device(context),
                 type.ndim,
                 type.dtype,
                 shapes[i].data(),
                 nullptr,
                 0};
  }
  return inputs;
}

using Results = std::vector<DLManagedTensor *>;

static Results launch(moert_entry *entry, const std::vector<DLTensor> &inputs,
                      void *stream) {
  std::vector<const DLTensor *> pointers;
  pointers.reserve(inputs.size());
  for (const DLTensor &input : inputs)
    pointers.push_back(&input);
  Results outputs(moert_entry_num_results(entry));
  check(moert_entry_launch(entry, pointers.data(), pointers.size(),
                           outputs.data(), outputs.size(), stream),
        "launch");
  return outputs;
}

static void release(const Results &results) {
  for (DLManagedTensor *result : results)
    result->deleter(result);
}

static double timeEntry(moert_entry *entry, const std::vector<DLTensor> &inputs,
                        void *stream, int calls) {
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i)
    release(launch(entry, inputs, stream));
  std::chrono::duration<double, std::nano> took =
      std::chrono::steady_clock::now() - begin;
  return took.count() / calls;
}

static void runRank(Rank self, int size, int calls, int held, const char *path,
                    const std::vector<const char *> &entries) {
  moert_bootstrap bootstrap = {};
  bootstrap.struct_size = sizeof(bootstrap);
  bootstrap.rank = self.rank;
  bootstrap.size = size;
  bootstrap.user = &self;
  bootstrap.allgather = gather;
  moert_options options = {};
  options.struct_size = sizeof(options);
  options.backend = "cuda";
  options.device = -1;
  moert_context *context = nullptr;
  check(moert_context_create(&bootstrap, &options, &context), "context");
  moert_artifact *artifact = nullptr;
  check(moert_artifact_load(context, path, &artifact), "artifact");
  void *stream = makeStream(moert_context_device(context).device_id);
  for (const char *name : entries) {
    moert_entry *entry = nullptr;
    check(moert_artifact_entry(artifact, name, &entry), name);
    std::vector<std::vector<int64_t>> shapes;
    std::vector<DLTensor> inputs = makeInputs(context, entry, shapes);
    // The first call meets the others, and maps memory.
    release(launch(entry, inputs, stream));
    std::vector<Results> kept;
    for (int i = 0; i < held; ++i)
      kept.push_back(launch(entry, inputs, stream));
    // All ranks make the same calls, one after another.
    for (int r = 0; r < size; ++r) {
      self.meeting->meet();
      if (self.rank != r)
        continue;
      std::vector<double> rounds;
      for (int round = 0; round < 11; ++round)
        rounds.push_back(timeEntry(entry, inputs, stream, calls));
      std::sort(rounds.begin(), rounds.end());
      if (r == 0)
        std::printf("%-24s %zu arguments, %zu results: %.0f ns\n", name,
                    inputs.size(), moert_entry_num_results(entry),
                    rounds[rounds.size() / 2]);
    }
    self.meeting->meet();
    for (const Results &results : kept)
      release(results);
  }
  moert_context_destroy(context);
}

int main(int argc, char **argv) {
  if (argc < 6 || std::atoi(argv[1]) < 1 || std::atoi(argv[2]) < 1 ||
      std::atoi(argv[3]) < 0) {
    std::fprintf(stderr, "usage: moe-launch-cost RANKS CALLS HELD ARTIFACT "
                         "ENTRY...\n");
    return 2;
  }
  const char *idle = std::getenv("MOE_STANDIN_IDLE");
  if (!idle || std::strcmp(idle, "1") != 0) {
    std::fprintf(stderr, "moe-launch-cost: kernels have to be idle "
                         "(MOE_STANDIN_IDLE=1, with the stand-in driver)\n");
    return 2;
  }
  int size = std::atoi(argv[1]), calls = std::atoi(argv[2]);
  int held = std::atoi(argv[3]);
  Meeting meeting(size);
  std::vector<const char *> entries(argv + 5, argv + argc);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      runRank({&meeting, r}, size, calls, held, argv[4], entries);
    });
  for (std::thread &thread : threads)
    thread.join();
  return 0;
}
