//===- CudaHostMemoryTest.cpp - tensors of the host in artifacts of GPUs --===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaLauncher.h"
#include "moe-runtime/Runtime.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class HostMemoryTest : public GroupTest {};

/// A tensor of rank 1 in memory of the caller's.
struct Vector {
  Vector(void *data, int64_t count, DLDataType dtype, DLDevice device)
      : count(count) {
    tensor.data = data;
    tensor.device = device;
    tensor.dtype = dtype;
    tensor.ndim = 1;
    tensor.shape = &this->count;
  }
  Vector(const Vector &) = delete;
  int64_t count;
  DLTensor tensor{};
};

constexpr DLDataType f32 = {kDLFloat, 32, 1}, i32 = {kDLInt, 32, 1};
constexpr DLDevice onHost = {kDLCPU, 0};

/// Entries of tables.c, and a vector on the GPU with 0, 10, 20, ...
class Tables {
public:
  static constexpr int64_t size = 16;

  explicit Tables(Context &context)
      : context(context), x(context.memory().allocate(size * 4, 64), size, f32,
                            context.device().device()),
        out(context.memory().allocate(size * 4, 64), size, f32,
            context.device().device()) {
    for (Vector *vector : {&x, &out})
      context.memory().keep(vector->tensor.data);
    float values[size];
    for (int i = 0; i < size; ++i)
      values[i] = float(10 * i);
    Status status = context.copyFromHost(x.tensor, values, sizeof(values));
    EXPECT_TRUE(status.isOk()) << status.message();
    auto loaded = context.load(artifactPath("tables"), "art");
    EXPECT_TRUE(loaded.isOk()) << loaded.status().message();
    artifact = *loaded;
  }
  ~Tables() {
    for (Vector *vector : {&x, &out})
      context.memory().free(vector->tensor.data);
  }
  Entry &operator[](const char *name) { return **artifact->entry(name); }
  /// The output on the GPU, of so many elements.
  const DLTensor *output(int64_t count) {
    out.count = count;
    return &out.tensor;
  }
  std::vector<float> read(const DLTensor &tensor) {
    std::vector<float> seen(size_t(tensor.shape[0]));
    Status status = context.copyToHost(tensor, seen.data(), seen.size() * 4);
    EXPECT_TRUE(status.isOk()) << status.message();
    return seen;
  }

  Context &context;
  Vector x, out;
  Artifact *artifact = nullptr;
};
} // namespace

INSTANTIATE_TEST_SUITE_P(Entry, HostMemoryTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

static void expectRefused(const Status &status, const std::string &message) {
  EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(status.message(), message);
}

TEST_P(HostMemoryTest, ResultsAreInHostMemoryOfTheRuntime) {
  runGroup(GetParam(), 2, [](Context &context) {
    Tables tables(context);
    int32_t rows[] = {3, 0, 15, 3};
    Vector table(rows, 4, i32, onHost);
    std::vector<DLManagedTensor *> kept;
    for (int32_t round = 0; round < 3; ++round) {
      rows[0] = round;
      std::vector<DLManagedTensor *> results;
      ASSERT_OK(context.call(tables["gather"],
                             {&tables.x.tensor, &table.tensor}, results));
      std::vector<float> expected = {float(10 * round), 0, 150, 30};
      EXPECT_EQ(tables.read(results[0]->dl_tensor), expected);
      const DLTensor &found = results[1]->dl_tensor;
      EXPECT_EQ(found.device.device_type, kDLCPU);
      auto *values = static_cast<float *>(found.data);
      EXPECT_EQ(std::vector<float>(values, values + 4), expected);
      results[0]->deleter(results[0]);
      kept.push_back(results[1]);
      EXPECT_EQ(context.hostMemory().stats().liveBlocks, kept.size());
    }
    for (int round = 0; round < 3; ++round) {
      auto *values = static_cast<float *>(kept[size_t(round)]->dl_tensor.data);
      EXPECT_EQ(values[0], float(10 * round));
      kept[size_t(round)]->deleter(kept[size_t(round)]);
    }
    EXPECT_EQ(context.hostMemory().stats().liveBlocks, 0u);
  });
}

TEST_P(HostMemoryTest, CallsWriteToHostMemoryOfTheCaller) {
  runGroup(GetParam(), 2, [](Context &context) {
    Tables tables(context);
    Launcher launcher(context);
    for (int32_t first : {1, 5}) {
      int32_t rows[] = {first, 2};
      // No kernel reads it: any address of an element will do.
      float found[4] = {-1, -1, -1, -1};
      Vector table(rows, 2, i32, onHost), given(found + 1, 2, f32, onHost);
      if (first == 5)
        given.tensor.device.device_type = table.tensor.device.device_type =
            kDLCUDAHost;
      std::vector<const DLTensor *> in = {&tables.x.tensor, &table.tensor};
      std::vector<const DLTensor *> out = {tables.output(2), &given.tensor};
      Memory::Stats before = context.hostMemory().stats();
      ASSERT_OK(first == 1 ? context.callInto(tables["gather"], in, out)
                           : context.launchInto(tables["gather"], in, out,
                                                launcher.stream));
      // Complete as soon as the launch has returned.
      std::vector<float> expected = {float(10 * first), 20};
      EXPECT_EQ(std::vector<float>(found, found + 4),
                (std::vector<float>{-1, expected[0], 20, -1}));
      ASSERT_OK(context.synchronize(launcher.stream));
      EXPECT_EQ(tables.read(*out[0]), expected);
      EXPECT_EQ(context.hostMemory().stats().liveBlocks, before.liveBlocks);
    }
  });
}

/// In C, where results outlive the context.
TEST_P(HostMemoryTest, CallersLearnWhereTensorsAre) {
  runGroup(GetParam(), 1, [](Context &) {
    moert_options options{};
    options.struct_size = sizeof(options);
    options.backend = "cuda";
    moert_context *context = nullptr;
    moert_artifact *loaded = nullptr;
    moert_entry *gather = nullptr;
    ASSERT_EQ(moert_context_create(nullptr, &options, &context), MOERT_OK)
        << moert_last_error();
    ASSERT_EQ(
        moert_artifact_load(context, artifactPath("tables").c_str(), &loaded),
        MOERT_OK)
        << moert_last_error();
    ASSERT_EQ(moert_artifact_entry(loaded, "gather", &gather), MOERT_OK);
    DLDevice mine = moert_context_device(context);
    for (auto *query : {moert_entry_arg_device, moert_entry_result_device}) {
      DLDevice first{}, second{};
      ASSERT_EQ(query(gather, 0, &first), MOERT_OK);
      ASSERT_EQ(query(gather, 1, &second), MOERT_OK);
      EXPECT_EQ(first.device_type, kDLCUDA);
      EXPECT_EQ(first.device_id, mine.device_id);
      EXPECT_EQ(second.device_type, kDLCPU);
      EXPECT_EQ(query(gather, 2, &first), MOERT_INVALID_ARGUMENT);
      EXPECT_STREQ(moert_last_error(), "index 2 of 2");
      EXPECT_EQ(query(gather, 0, nullptr), MOERT_INVALID_ARGUMENT);
      EXPECT_EQ(query(nullptr, 0, &first), MOERT_INVALID_ARGUMENT);
    }
    float values[] = {5, 6, 7};
    int32_t rows[] = {2, 0};
    Vector x(values, 3, f32, onHost), table(rows, 2, i32, onHost);
    const DLTensor *inputs[] = {&x.tensor, &table.tensor};
    DLManagedTensor *results[2] = {};
    ASSERT_EQ(moert_entry_call(gather, inputs, 2, results, 2), MOERT_OK)
        << moert_last_error();
    moert_context_destroy(context);
    auto *found = static_cast<float *>(results[1]->dl_tensor.data);
    EXPECT_EQ(std::vector<float>(found, found + 2), (std::vector<float>{7, 5}));
    for (DLManagedTensor *result : results)
      result->deleter(result);
  });
}

/// Also while the stream has not come to the launch.
TEST_P(HostMemoryTest, ArgumentsMayBeFreedAfterTheLaunch) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    Launcher launcher(context);
    std::vector<DLManagedTensor *> results;
    {
      std::vector<int32_t> rows = {3, 0, 15, 4};
      // Strided ones are packed.
      int64_t stride = 2;
      Vector table(rows.data(), 2, i32, onHost);
      table.tensor.strides = &stride;
      launcher.keepBusy(std::chrono::milliseconds(50));
      ASSERT_OK(context.launch(tables["pick"],
                               {&tables.x.tensor, &table.tensor}, results,
                               launcher.stream));
      std::fill(rows.begin(), rows.end(), 1);
    }
    ASSERT_OK(context.synchronize(launcher.stream));
    EXPECT_EQ(tables.read(results[0]->dl_tensor),
              (std::vector<float>{30, 150}));
    results[0]->deleter(results[0]);
    EXPECT_EQ(context.hostMemory().stats().liveBlocks, 0u);
  });
}

TEST_P(HostMemoryTest, EmptyTables) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    Vector table(nullptr, 0, i32, onHost), given(nullptr, 0, f32, onHost);
    std::vector<DLManagedTensor *> results;
    std::vector<const DLTensor *> in = {&tables.x.tensor, &table.tensor};
    ASSERT_OK(context.call(tables["gather"], in, results));
    for (DLManagedTensor *result : results) {
      EXPECT_EQ(result->dl_tensor.shape[0], 0);
      result->deleter(result);
    }
    ASSERT_OK(context.callInto(tables["gather"], in,
                               {tables.output(0), &given.tensor}));
  });
}

/// An argument and a constant are copied, also parts of them.
TEST_P(HostMemoryTest, ResultsThatTheEntryDoesNotOwnAreCopied) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    int32_t rows[] = {4, 5, 6, 7, 8, 9};
    const std::vector<std::vector<int32_t>> dense = {
        {4, 5, 6}, {4, 6}, {7, 8, 9}};
    const std::vector<std::vector<int32_t>> packed = {
        {4, 6, 8}, {4, 8}, {7, 8, 9}};
    for (int64_t stride : {1, 2}) {
      const auto &expected = stride == 1 ? dense : packed;
      Vector table(rows, 3, i32, onHost);
      table.tensor.strides = &stride;
      std::vector<DLManagedTensor *> results;
      ASSERT_OK(context.call(tables["same"], {&table.tensor}, results));
      int32_t first[3] = {}, second[2] = {}, third[3] = {};
      Vector all(first, 3, i32, onHost), part(second, 2, i32, onHost),
          constant(third, 3, i32, onHost);
      ASSERT_OK(
          context.callInto(tables["same"], {&table.tensor},
                           {&all.tensor, &part.tensor, &constant.tensor}));
      EXPECT_EQ(std::vector<int32_t>(first, first + 3), expected[0]);
      EXPECT_EQ(std::vector<int32_t>(second, second + 2), expected[1]);
      EXPECT_EQ(std::vector<int32_t>(third, third + 3), expected[2]);
      for (size_t i = 0; i < 3; ++i) {
        const DLTensor &result = results[i]->dl_tensor;
        EXPECT_EQ(result.device.device_type, kDLCPU);
        std::vector<int32_t> seen(size_t(result.shape[0]));
        ASSERT_OK(context.copyToHost(result, seen.data(), seen.size() * 4));
        EXPECT_EQ(seen, expected[i]);
        EXPECT_TRUE(result.data < rows || result.data >= rows + 6);
        results[i]->deleter(results[i]);
      }
      EXPECT_EQ(context.hostMemory().stats().liveBlocks, 0u);
    }
  });
}

TEST_P(HostMemoryTest, WrongMemoryIsRefused) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    Launcher launcher(context);
    int32_t rows[] = {3, 0};
    float values[16] = {}, found[4] = {};
    Vector table(rows, 2, i32, onHost), given(found, 2, f32, onHost);
    Vector below(values, 16, f32, onHost);
    std::vector<const DLTensor *> in = {&tables.x.tensor, &table.tensor};
    std::vector<const DLTensor *> out = {tables.output(2), &given.tensor};
    Entry &gather = tables["gather"];
    const std::string hint =
        "; copy it to the host, or give host memory to write to";
    const std::string expected =
        "expected a tensor in host memory, since the CPU uses it during the "
        "call, got one on ";
    // The table on the GPU.
    table.tensor.device = context.device().device();
    expectRefused(context.callInto(gather, in, out),
                  "rank 0: argument 1 of entry 'gather': " + expected +
                      "device 0" + hint);
    table.tensor.device.device_type = kDLROCM;
    expectRefused(context.callInto(gather, in, out),
                  "rank 0: argument 1 of entry 'gather': " + expected +
                      "DLPack device type 10" + hint);
    table.tensor.device = onHost;
    // The vector on the host, which only a call uploads.
    expectRefused(
        context.launchInto(gather, {&below.tensor, in[1]}, out,
                           launcher.stream),
        "rank 0: argument 0 of entry 'gather': expected a tensor on device 0, "
        "got DLPack device type 1");
    ASSERT_OK(context.callInto(gather, {&below.tensor, in[1]}, out));
    // Results.
    given.tensor.device = context.device().device();
    expectRefused(context.callInto(gather, in, out),
                  "rank 0: output 1 of entry 'gather': " + expected +
                      "device 0" + hint);
    given.tensor.device = onHost;
    Vector other(values, 2, f32, onHost);
    expectRefused(
        context.callInto(gather, in, {&other.tensor, &given.tensor}),
        "rank 0: output 0 of entry 'gather': expected a tensor on device 0, "
        "got DLPack device type 1");
    // Memory of the table itself, and of another output.
    Vector overlapping(rows + 1, 2, f32, onHost);
    expectRefused(
        context.callInto(gather, in, {out[0], &overlapping.tensor}),
        "rank 0: output 1 of entry 'gather': it shares memory with argument 1");
    int32_t numbers[5] = {}, part[2] = {};
    Vector all(numbers, 2, i32, onHost), within(part, 1, i32, onHost),
        end(numbers + 1, 3, i32, onHost);
    expectRefused(context.callInto(tables["same"], {&table.tensor},
                                   {&all.tensor, &within.tensor, &end.tensor}),
                  "rank 0: output 2 of entry 'same': it shares memory with "
                  "output 0");
    // An element is what the address has to be a multiple of.
    given.tensor.byte_offset = 2;
    expectRefused(context.callInto(gather, in, out),
                  "rank 0: output 1 of entry 'gather': expected memory aligned "
                  "to 4 bytes, got an address that is 2 past a multiple of "
                  "that");
  });
}

/// It would be read on the CPU.
TEST_P(HostMemoryTest, ResultOnTheGpuThatIsMarkedAsTheHosts) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    std::vector<DLManagedTensor *> results;
    Status status = context.call(tables["astray"], {}, results);
    EXPECT_EQ(status.code(), MOERT_INTERNAL);
    EXPECT_EQ(status.message(),
              "rank 0: result 0 of entry 'astray': it is marked as the host's, "
              "but in memory of the device");
    int32_t numbers[16];
    Vector given(numbers, 16, i32, onHost);
    status = context.callInto(tables["astray"], {}, {&given.tensor});
    EXPECT_EQ(status.message(),
              "rank 0: output 0 of entry 'astray': it is marked as the host's, "
              "but in memory of the device");
  });
}

/// A failed call leaves nothing, and says what was wrong.
TEST_P(HostMemoryTest, WrongRowIsAnErrorOfTheCall) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    int32_t rows[] = {3, 16};
    Vector table(rows, 2, i32, onHost);
    std::vector<DLManagedTensor *> results;
    Status status = context.call(tables["gather"],
                                 {&tables.x.tensor, &table.tensor}, results);
    EXPECT_EQ(status.code(), MOERT_INVALID_COUNT);
    EXPECT_TRUE(results.empty());
    EXPECT_EQ(context.hostMemory().stats().liveBlocks, 0u);
  });
}

/// Its replays go by the table that was read.
TEST_P(HostMemoryTest, CapturedLaunchKeepsToItsTable) {
  runGroup(GetParam(), 1, [](Context &context) {
    Tables tables(context);
    Launcher launcher(context);
    int32_t rows[] = {3, 1};
    Vector table(rows, 2, i32, onHost);
    std::vector<const DLTensor *> in = {&tables.x.tensor, &table.tensor};
    std::vector<const DLTensor *> out = {tables.output(2)};
    ASSERT_OK(launcher.capture([&] {
      return context.launchInto(tables["pick"], in, out, launcher.stream);
    }));
    rows[0] = 7;
    launcher.replay();
    ASSERT_OK(context.synchronize(launcher.stream));
    EXPECT_EQ(tables.read(*out[0]), (std::vector<float>{30, 10}));
  });
}
