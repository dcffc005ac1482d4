//===- CudaGraphEndTest.cpp - graphs that outlive what they launch --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Nobody is asked before a graph is replayed. So one whose group is gone, or
/// whose artifact is unloaded, must not use what was freed: the driver of CI
/// faults on memory that is not mapped, and no other group may see it.
///
//===----------------------------------------------------------------------===//

#include "Artifacts.h"
#include "CUDA/Gpu.h"
#include "Group.h"

#include <chrono>
#include <thread>

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
/// A rank with memory and a graph of its own. They outlive its context.
class Rank {
public:
  explicit Rank(std::unique_ptr<Bootstrap> bootstrap) {
    ContextOptions options;
    options.backend = backendUnderTest.name;
    auto made = Context::create(std::move(bootstrap), options);
    EXPECT_TRUE(made.isOk()) << made.status().message();
    if (!made.isOk())
      return;
    context = made.take();
    gpu = *cuda::Gpu::open(context->device().device().device_id);
    memory = *gpu->mapPrivate(gpu->granularity());
    cuda::Current current(*gpu);
    EXPECT_EQ(gpu->driver().streamCreate(&stream, cuda::streamNonBlocking), 0);
  }
  ~Rank() {
    destroyGraph();
    context.reset();
    if (!gpu)
      return;
    gpu->unmapPrivate(memory, gpu->granularity());
    cuda::Current current(*gpu);
    gpu->driver().streamDestroy(stream);
  }

  void load() {
    auto loaded = context->load(
        artifactPath(format("exchange%d", context->size())), "art");
    ASSERT_OK(loaded.status());
    artifact = *loaded;
  }
  Status launch() {
    DLTensor tensors[2];
    int64_t shape[2] = {4, 4};
    for (int i = 0; i < 2; ++i) {
      tensors[i] = {};
      tensors[i].data = memory + i * sizeof(Values);
      tensors[i].device = context->device().device();
      tensors[i].ndim = 2;
      tensors[i].dtype = {kDLFloat, 32, 1};
      tensors[i].shape = shape;
    }
    return context->launchInto(**artifact->entry("rotate"), {&tensors[0]},
                               {&tensors[1]}, stream);
  }
  Status synchronize() { return context->synchronize(stream); }
  void capture() {
    // The first launch meets the other ranks.
    ASSERT_OK(launch());
    ASSERT_OK(synchronize());
    EXPECT_EQ(context->numGraphs(), 0);
    cuda::Current current(*gpu);
    const cuda::Driver &api = gpu->driver();
    ASSERT_EQ(api.streamBeginCapture(stream, cuda::captureThreadLocal), 0);
    ASSERT_OK(launch());
    ASSERT_OK(launch());
    EXPECT_EQ(context->numGraphs(), 1);
    cuda::GraphHandle graph = nullptr;
    ASSERT_EQ(api.streamEndCapture(stream, &graph), 0);
    ASSERT_EQ(api.graphInstantiate(&exec, graph, 0), 0);
    ASSERT_EQ(api.graphDestroy(graph), 0);
    EXPECT_EQ(context->numGraphs(), 1);
  }
  /// Without the context. The driver has found no fault.
  void replay() {
    cuda::Current current(*gpu);
    ASSERT_EQ(gpu->driver().graphLaunch(exec, stream), 0);
    ASSERT_EQ(gpu->driver().streamSynchronize(stream), 0);
  }
  void destroyGraph() {
    if (!exec)
      return;
    cuda::Current current(*gpu);
    EXPECT_EQ(gpu->driver().graphExecDestroy(std::exchange(exec, nullptr)), 0);
    // A driver tells of its end on a thread of its own.
    soon([this] { return !context || context->numGraphs() == 0; });
  }
  /// Whether that becomes true within some seconds.
  static bool soon(const std::function<bool()> &condition) {
    for (int i = 0; i < 100 && !condition(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return condition();
  }
  void setInput(float value) {
    Values values;
    std::fill(std::begin(values), std::end(values), value);
    ASSERT_OK(gpu->copyNow(memory, values, sizeof(values)));
  }
  float output() {
    Values values{};
    EXPECT_TRUE(
        gpu->copyNow(values, memory + sizeof(values), sizeof(values)).isOk());
    return values[15];
  }

  std::unique_ptr<Context> context;
  std::shared_ptr<cuda::Gpu> gpu;
  Artifact *artifact = nullptr;

private:
  using Values = float[16];
  char *memory = nullptr; ///< an input, and an output
  cuda::StreamHandle stream = nullptr;
  cuda::GraphExecHandle exec = nullptr;
};

/// The ranks of all groups are threads of one process, which the suite makes.
class GraphEndTest : public BackendTest {
protected:
  static void inAProcess(const std::function<void()> &body) {
    runGroup(RankKind::Threads, /*size=*/1, [&](Context &) { body(); });
  }

  using Ranks = std::vector<std::unique_ptr<Rank>>;
  static Ranks makeGroup(int size) {
    auto bootstraps = createThreadBootstraps(size);
    Ranks ranks(static_cast<size_t>(size));
    std::vector<std::thread> threads;
    for (int r = 0; r < size; ++r)
      threads.emplace_back([&, r] {
        ranks[r] = std::make_unique<Rank>(std::move(bootstraps[r]));
      });
    for (std::thread &thread : threads)
      thread.join();
    return ranks;
  }
  static void onAll(Ranks &ranks, const std::function<void(Rank &)> &body) {
    std::vector<std::thread> threads;
    for (std::unique_ptr<Rank> &rank : ranks)
      threads.emplace_back([&] { body(*rank); });
    for (std::thread &thread : threads)
      thread.join();
  }
  static void makeGraphs(Ranks &ranks) {
    onAll(ranks, [](Rank &rank) {
      rank.load();
      // The arena gets memory, too, which ends with it.
      Memory &arena = rank.context->memory();
      arena.free(arena.allocate(/*bytes=*/64, /*alignment=*/64));
      rank.capture();
      rank.setInput(float(7 + rank.context->rank()));
      rank.replay();
      EXPECT_EQ(rank.output(), float(8 - rank.context->rank()));
    });
  }
};
} // namespace

TEST_F(GraphEndTest, ReplayWhenTheGroupIsGone) {
  inAProcess([] {
    Ranks old = makeGroup(2);
    ASSERT_FALSE(HasFailure());
    size_t before = old[0]->gpu->freeBytes();
    makeGraphs(old);
    ASSERT_FALSE(HasFailure());
    onAll(old, [](Rank &rank) { rank.context.reset(); });

    // Whatever they would write to is not what a new group has.
    Ranks ranks = makeGroup(2);
    onAll(ranks, [&](Rank &rank) {
      constexpr size_t bytes = size_t(4) << 20;
      auto block = rank.context->symmAlloc(bytes);
      ASSERT_OK(block.status());
      std::vector<char> written(bytes, 'm'), seen(bytes);
      ASSERT_OK(rank.gpu->copyNow(*block, written.data(), bytes));
      Rank &other = *old[size_t(rank.context->rank())];
      for (int i = 0; i < 3; ++i)
        other.replay();
      ASSERT_OK(rank.gpu->copyNow(seen.data(), *block, bytes));
      EXPECT_EQ(seen, written);
      rank.load();
      rank.capture();
      rank.setInput(1);
      rank.replay();
      EXPECT_EQ(rank.output(), 1);
      ASSERT_OK(rank.context->symmFree(*block));
    });

    // One that is alone waits for nobody.
    auto begun = std::chrono::steady_clock::now();
    old[0]->replay();
    EXPECT_LT(std::chrono::steady_clock::now() - begun,
              std::chrono::seconds(10));

    // What the graphs use is kept as long as they live, and no longer. On a GPU
    // other processes may take memory meanwhile.
    onAll(ranks, [](Rank &rank) {
      rank.destroyGraph();
      EXPECT_EQ(rank.context->numGraphs(), 0);
    });
    ranks.clear();
    size_t kept = old[0]->gpu->freeBytes();
    EXPECT_LT(kept, before);
    onAll(old, [](Rank &rank) { rank.destroyGraph(); });
    // A group that begins or ends frees it.
    EXPECT_TRUE(Rank::soon([&] {
      ranks = makeGroup(1);
      ranks.clear();
      return old[0]->gpu->freeBytes() > kept;
    }));
  });
}

TEST_F(GraphEndTest, ReplayWhenTheArtifactIsUnloaded) {
  inAProcess([] {
    Ranks ranks = makeGroup(2);
    ASSERT_FALSE(HasFailure());
    makeGraphs(ranks);
    ASSERT_FALSE(HasFailure());
    // A graph of one rank is enough, since heaps of all ranks are alike.
    ranks[1]->destroyGraph();
    onAll(ranks, [](Rank &rank) {
      char *workspace = rank.artifact->workspace;
      ASSERT_OK(rank.context->unload(rank.artifact));
      if (rank.context->rank() == 0)
        rank.replay();
      rank.load();
      EXPECT_NE(rank.artifact->workspace, workspace);
      ASSERT_OK(rank.launch());
      ASSERT_OK(rank.synchronize());
      rank.destroyGraph();
      workspace = rank.artifact->workspace;
      ASSERT_OK(rank.context->boot().barrier());
      ASSERT_OK(rank.context->unload(rank.artifact));
      rank.load();
      EXPECT_EQ(rank.artifact->workspace, workspace);
    });
  });
}
