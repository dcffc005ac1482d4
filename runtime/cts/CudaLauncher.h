//===- CudaLauncher.h - launches on a stream of a GPU -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_CUDALAUNCHER_H
#define MOE_RUNTIME_CTS_CUDALAUNCHER_H

#include "Artifacts.h"
#include "CUDA/Gpu.h"

#include <chrono>

namespace moe::rt::cts {

/// One rank's stream, and an input of four rows on its GPU.
class Launcher {
public:
  explicit Launcher(Context &context)
      : context(context),
        gpu(*cuda::Gpu::open(context.device().device().device_id)),
        api(gpu->driver()) {
    cuda::Current current(*gpu);
    EXPECT_EQ(api.streamCreate(&stream, cuda::streamNonBlocking), 0);
    auto loaded =
        context.load(artifactPath(format("exchange%d", context.size())), "art");
    EXPECT_TRUE(loaded.isOk()) << loaded.status().message();
    if (loaded.isOk())
      entry = *(*loaded)->entry("rotate");
    input.data = context.memory().allocate(sizeof(values), 64);
    context.memory().keep(input.data);
    input.device = context.device().device();
    input.ndim = 2;
    input.dtype = {kDLFloat, 32, 1};
    input.shape = shape;
  }
  ~Launcher() {
    context.memory().free(input.data);
    cuda::Current current(*gpu);
    if (exec)
      api.graphExecDestroy(exec);
    api.streamDestroy(stream);
  }

  void setInput(int round) {
    for (int i = 0; i < 16; ++i)
      values[i] = float(context.rank() * 1000 + round * 20 + i);
    ASSERT_OK(context.copyFromHost(input, values, sizeof(values)));
  }
  /// Launches into memory of the caller's.
  Status launchInto(const DLTensor &output) {
    return context.launchInto(*entry, {&input}, {&output}, stream);
  }
  Status launch(DLManagedTensor *&output) {
    std::vector<DLManagedTensor *> outputs;
    Status status = context.launch(*entry, {&input}, outputs, stream);
    output = status.isOk() ? outputs[0] : nullptr;
    return status;
  }
  /// The rows of the rank before this one.
  void checkOutput(const DLManagedTensor &output, int round) {
    checkOutput(output.dl_tensor, round);
  }
  void checkOutput(const DLTensor &output, int round) {
    int size = context.size();
    int previous = (context.rank() + size - 1) % size;
    float seen[16] = {};
    ASSERT_OK(context.copyToHost(output, seen, sizeof(seen)));
    for (int i = 0; i < 16; ++i)
      ASSERT_EQ(seen[i], float(previous * 1000 + round * 20 + i))
          << "round " << round << " element " << i;
  }
  /// A graph of one launch.
  Status capture(DLManagedTensor *&output) {
    return capture([&] { return launch(output); });
  }
  template <typename Launch> Status capture(Launch launchAll) {
    cuda::Current current(*gpu);
    EXPECT_EQ(api.streamBeginCapture(stream, cuda::captureThreadLocal), 0);
    Status status = launchAll();
    cuda::GraphHandle graph = nullptr;
    EXPECT_EQ(api.streamEndCapture(stream, &graph), 0);
    int result = status.isOk() ? api.graphInstantiate(&exec, graph, 0) : 0;
    EXPECT_EQ(result, 0);
    if (graph)
      api.graphDestroy(graph);
    return status;
  }
  /// Queues copies that take about as long as `time`.
  void keepBusy(std::chrono::milliseconds time) {
    constexpr size_t bytes = size_t(64) << 20;
    char *memory =
        static_cast<char *>(context.memory().allocate(2 * bytes, 64));
    ASSERT_NE(memory, nullptr);
    ASSERT_TRUE(context.memory().keep(memory));
    cuda::Current current(*gpu);
    auto copy = [&] {
      EXPECT_EQ(api.memcpyAsync(cuda::toDevicePtr(memory + bytes),
                                cuda::toDevicePtr(memory), bytes, stream),
                0);
    };
    // The first one also waits for the launch.
    copy();
    EXPECT_EQ(api.streamSynchronize(stream), 0);
    auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 8; ++i)
      copy();
    EXPECT_EQ(api.streamSynchronize(stream), 0);
    auto taken = std::chrono::steady_clock::now() - begin;
    for (auto queued = taken; queued < time; queued += taken)
      for (int i = 0; i < 8; ++i)
        copy();
    context.memory().free(memory);
  }
  void replay() {
    cuda::Current current(*gpu);
    ASSERT_EQ(api.graphLaunch(exec, stream), 0);
  }

  Context &context;
  std::shared_ptr<cuda::Gpu> gpu;
  const cuda::Driver &api;
  cuda::StreamHandle stream = nullptr;
  cuda::GraphExecHandle exec = nullptr;
  Entry *entry = nullptr;
  DLTensor input{};
  int64_t shape[2] = {4, 4};
  float values[16] = {};
};

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_CUDALAUNCHER_H
