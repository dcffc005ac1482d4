//===- CApiTest.cpp - tests of the C API, from outside the library --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Linked against libmoe_runtime.so alone: no C++ of the runtime is visible
/// here, as in any program that embeds it.
///
//===----------------------------------------------------------------------===//

#include "moe-runtime/Runtime.h"

#include <cmath>
#include <condition_variable>
#include <cstring>
#include <gtest/gtest.h>
#include <mutex>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

static std::string artifact(const char *name) {
  return std::string(MOE_TEST_ARTIFACT_DIR) + "/" + name + ".so";
}

#define ASSERT_MOERT(expr) ASSERT_EQ((expr), MOERT_OK) << moert_last_error()

namespace {
struct Matrix {
  Matrix(int64_t rows, int64_t cols) : shape{rows, cols} {
    values.resize(rows * cols);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = float(i);
    tensor.device = {kDLCPU, 0};
    tensor.dtype = {kDLFloat, 32, 1};
    tensor.ndim = 2;
    tensor.shape = shape;
    tensor.data = values.data();
  }
  int64_t shape[2];
  std::vector<float> values;
  DLTensor tensor{};
};

class CApiTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_MOERT(moert_context_create(nullptr, nullptr, &context));
    ASSERT_MOERT(
        moert_artifact_load(context, artifact("local").c_str(), &local));
  }
  void TearDown() override { moert_context_destroy(context); }
  moert_entry *entry(const char *name) {
    moert_entry *found = nullptr;
    EXPECT_EQ(moert_artifact_entry(local, name, &found), MOERT_OK);
    return found;
  }
  /// Calls an entry of one matrix that is expected to refuse it.
  void expectRefused(const char *name, const DLTensor &tensor,
                     const std::string &message) {
    const DLTensor *inputs[] = {&tensor};
    DLManagedTensor *output = nullptr;
    EXPECT_EQ(moert_entry_call(entry(name), inputs, 1, &output, 1),
              MOERT_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(moert_last_error()), "rank 0: argument 0 of entry '" +
                                                   std::string(name) +
                                                   "': " + message);
    EXPECT_EQ(output, nullptr);
  }
  moert_context *context = nullptr;
  moert_artifact *local = nullptr;
};
} // namespace

static std::vector<float> valuesOf(const DLTensor &tensor) {
  auto *data = reinterpret_cast<const float *>(
      static_cast<const char *>(tensor.data) + tensor.byte_offset);
  std::vector<float> values;
  for (int64_t i = 0; i < tensor.shape[0]; ++i)
    for (int64_t j = 0; j < tensor.shape[1]; ++j)
      values.push_back(data[i * tensor.strides[0] + j * tensor.strides[1]]);
  return values;
}

TEST_F(CApiTest, CopyThroughAnEntry) {
  EXPECT_EQ(moert_context_rank(context), 0);
  EXPECT_EQ(moert_context_size(context), 1);
  Matrix in(3, 5);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("copy_f32"), inputs, 1, &out, 1));
  EXPECT_EQ(out->dl_tensor.ndim, 2);
  EXPECT_EQ(out->dl_tensor.shape[1], 5);
  EXPECT_NE(out->dl_tensor.data, in.tensor.data);
  EXPECT_EQ(valuesOf(out->dl_tensor), in.values);
  // Results outlive the context, and may be freed on any thread.
  moert_context_destroy(context);
  context = nullptr;
  EXPECT_EQ(valuesOf(out->dl_tensor), in.values);
  std::thread([out] { out->deleter(out); }).join();
}

TEST_F(CApiTest, StridedAndOffsetInputs) {
  Matrix in(4, 6);
  // Every other column of the last three rows.
  int64_t shape[] = {3, 3}, strides[] = {6, 2};
  in.tensor.shape = shape;
  in.tensor.strides = strides;
  in.tensor.byte_offset = 6 * sizeof(float);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("copy_f32"), inputs, 1, &out, 1));
  EXPECT_EQ(valuesOf(out->dl_tensor),
            (std::vector<float>{6, 8, 10, 12, 14, 16, 18, 20, 22}));
  out->deleter(out);
}

TEST_F(CApiTest, MisalignedInputs) {
  std::vector<char> bytes(2 * 2 * 4 + 1);
  float values[] = {1, 2, 3, 4};
  std::memcpy(bytes.data() + 1, values, sizeof(values));
  Matrix in(2, 2);
  in.tensor.data = bytes.data() + 1;
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("copy_f32"), inputs, 1, &out, 1));
  EXPECT_EQ(valuesOf(out->dl_tensor), (std::vector<float>{1, 2, 3, 4}));
  out->deleter(out);
}

TEST_F(CApiTest, EmptyTensorsAndScalars) {
  Matrix in(0, 7);
  in.tensor.data = nullptr;
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("copy_f32"), inputs, 1, &out, 1));
  EXPECT_EQ(out->dl_tensor.shape[0], 0);
  EXPECT_EQ(out->dl_tensor.shape[1], 7);
  out->deleter(out);

  double value = 21;
  DLTensor scalar{};
  scalar.data = &value;
  scalar.device = {kDLCPU, 0};
  scalar.dtype = {kDLFloat, 64, 1};
  inputs[0] = &scalar;
  ASSERT_MOERT(moert_entry_call(entry("scalar"), inputs, 1, &out, 1));
  EXPECT_EQ(*static_cast<double *>(out->dl_tensor.data), 42);
  out->deleter(out);
}

TEST_F(CApiTest, ResultsThatShareMemoryOrAreStrided) {
  Matrix in(2, 3);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out[2] = {};
  ASSERT_MOERT(moert_entry_call(entry("many"), inputs, 1, out, 2));
  EXPECT_EQ(out[0]->dl_tensor.data, out[1]->dl_tensor.data);
  out[0]->deleter(out[0]);
  EXPECT_EQ(valuesOf(out[1]->dl_tensor), in.values);
  out[1]->deleter(out[1]);
  ASSERT_MOERT(moert_entry_call(entry("column"), inputs, 1, out, 1));
  EXPECT_EQ(valuesOf(out[0]->dl_tensor), (std::vector<float>{2, 5}));
  out[0]->deleter(out[0]);
}

TEST_F(CApiTest, ArtifactsFindTheMathematicalLibrary) {
  Matrix in(1, 2);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("expf"), inputs, 1, &out, 1));
  EXPECT_EQ(valuesOf(out->dl_tensor), (std::vector<float>{1, std::exp(1.0f)}));
  out->deleter(out);
}

TEST_F(CApiTest, InputsAreChecked) {
  Matrix in(2, 3);
  expectRefused("copy_i32", in.tensor, "expected element type i32, got f32");
  in.tensor.ndim = 1;
  expectRefused("copy_f32", in.tensor,
                "expected rank 2 f32[?, ?], got rank 1 [2]");
  in.tensor.ndim = 2;
  in.tensor.device.device_type = kDLCUDA;
  expectRefused("copy_f32", in.tensor,
                "expected a tensor in host memory, got DLPack device type 2");
  in.tensor.device.device_type = kDLCPU;
  in.tensor.data = nullptr;
  expectRefused("copy_f32", in.tensor, "the tensor has no data");
  in.shape[0] = -2;
  expectRefused("copy_f32", in.tensor, "extent 0 is negative: -2");
  in.shape[0] = in.shape[1] = int64_t(1) << 40;
  expectRefused("copy_f32", in.tensor,
                "the shape [1099511627776, 1099511627776] is too large");
  in.tensor.dtype = {kDLUInt, 16, 1};
  expectRefused("copy_f32", in.tensor, "expected element type f32, got uint16");
  DLManagedTensor *out = nullptr;
  EXPECT_EQ(moert_entry_call(entry("copy_f32"), nullptr, 0, &out, 1),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "rank 0: entry 'copy_f32' has 1 arguments, "
                                   "but 0 were given");
  const DLTensor *none[] = {nullptr};
  EXPECT_EQ(moert_entry_call(entry("copy_f32"), none, 1, &out, 1),
            MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(moert_entry_call(entry("copy_f32"), none, 1, &out, 0),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "entry 'copy_f32' has 1 results, but there "
                                   "is room for 0");
}

TEST_F(CApiTest, FailureOfAnEntryThatDoesNotCommunicate) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(moert_entry_call(entry("fail"), nullptr, 0, nullptr, 0),
              MOERT_INVALID_COUNT);
    EXPECT_EQ(std::string(moert_last_error()),
              "rank 0: call of entry 'fail' of artifact " + artifact("local") +
                  ": invalid count: rows: expected 3, seen 4");
  }
  EXPECT_EQ(moert_context_failed_rank(context), -1);
}

TEST_F(CApiTest, EntriesDescribeThemselves) {
  EXPECT_EQ(moert_artifact_num_entries(local), 16u);
  moert_entry *bf16 = entry("copy_bf16");
  EXPECT_STREQ(moert_entry_name(bf16), "copy_bf16");
  EXPECT_EQ(moert_entry_num_args(bf16), 1u);
  EXPECT_EQ(moert_entry_num_results(bf16), 1u);
  moert_tensor_type type;
  ASSERT_MOERT(moert_entry_arg(bf16, 0, &type));
  EXPECT_STREQ(type.dtype_name, "bf16");
  EXPECT_EQ(type.dtype.code, kDLBfloat);
  EXPECT_EQ(type.ndim, 2);
  EXPECT_EQ(type.shape[1], -1);
  ASSERT_MOERT(moert_entry_result(entry("copy_f8E5M2"), 0, &type));
  EXPECT_EQ(type.dtype.code, MOERT_DL_FLOAT8_E5M2);
  EXPECT_EQ(moert_entry_arg(bf16, 1, &type), MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(moert_artifact_entry_at(local, 16), nullptr);
  EXPECT_EQ(moert_artifact_entry_at(local, 3), bf16);
  EXPECT_NE(std::strstr(moert_artifact_manifest(local), "\"copy_bf16\""),
            nullptr);
  moert_entry *none = nullptr;
  EXPECT_EQ(moert_artifact_entry(local, "layer", &none),
            MOERT_INVALID_ARGUMENT);
  EXPECT_NE(std::strstr(moert_last_error(), "no entry is named 'layer'"),
            nullptr);
  EXPECT_EQ(moert_artifact_entry(local, nullptr, &none),
            MOERT_INVALID_ARGUMENT);
}

TEST_F(CApiTest, ArtifactsThatAreRefused) {
  struct Case {
    const char *name;
    moert_code code;
    const char *message;
  };
  for (const Case &c :
       {Case{"bad-abi", MOERT_ABI_MISMATCH,
             "has ABI version 3, this runtime understands version 2"},
        {"bad-target", MOERT_UNAVAILABLE, "is for target 'cuda:sm_90'"},
        {"bad-cpu", MOERT_ABI_MISMATCH, "unknown CPU level 'x86-64-v9'"},
        {"bad-symbol", MOERT_INVALID_ARGUMENT,
         "the symbol moe_entry_g is missing"},
        {"bad-import", MOERT_ABI_MISMATCH, "moert_function_of_the_future"},
        {"bad-manifest", MOERT_INVALID_ARGUMENT, "not a JSON text"},
        {"no-manifest", MOERT_INVALID_ARGUMENT, "not an artifact"},
        {"exchange4", MOERT_ABI_MISMATCH,
         "is for 4 ranks, but the group has 1"},
        {"missing", MOERT_IO, "No such file"}}) {
    moert_artifact *loaded = nullptr;
    EXPECT_EQ(moert_artifact_load(context, artifact(c.name).c_str(), &loaded),
              c.code)
        << c.name << ": " << moert_last_error();
    EXPECT_NE(std::strstr(moert_last_error(), c.message), nullptr)
        << moert_last_error();
    EXPECT_NE(std::strstr(moert_last_error(), c.name), nullptr);
    EXPECT_EQ(loaded, nullptr);
  }
  moert_artifact *loaded = nullptr;
  EXPECT_EQ(moert_artifact_load(context, "/dev/null", &loaded), MOERT_IO);
  EXPECT_EQ(moert_artifact_load(context, "/etc/hostname", &loaded),
            MOERT_INVALID_ARGUMENT);
}

TEST_F(CApiTest, UnloadAndLoadAgain) {
  ASSERT_MOERT(moert_artifact_unload(local));
  ASSERT_MOERT(moert_artifact_load(context, artifact("local").c_str(), &local));
  Matrix in(1, 1);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("copy_f32"), inputs, 1, &out, 1));
  out->deleter(out);
}

TEST_F(CApiTest, Timings) {
  Matrix in(1, 1);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry("copy_f32"), inputs, 1, &out, 1));
  out->deleter(out);
  ASSERT_EQ(moert_context_num_timings(context), 1u);
  moert_timing timing;
  ASSERT_MOERT(moert_context_timing(context, 0, &timing));
  EXPECT_STREQ(timing.phase, "compute");
  EXPECT_STREQ(timing.op, "");
  EXPECT_EQ(timing.calls, 1);
  EXPECT_EQ(moert_context_timing(context, 1, &timing), MOERT_INVALID_ARGUMENT);
  moert_context_clear_timings(context);
  ASSERT_MOERT(moert_context_timing(context, 0, &timing));
  EXPECT_EQ(timing.calls, 0);
}

TEST(CApiErrorTest, WrongArguments) {
  moert_context *context = nullptr;
  EXPECT_EQ(moert_context_create(nullptr, nullptr, nullptr),
            MOERT_INVALID_ARGUMENT);
  moert_options options{};
  EXPECT_EQ(moert_context_create(nullptr, &options, &context),
            MOERT_INVALID_ARGUMENT);
  options.struct_size = sizeof(options);
  options.timeout_seconds = -1;
  EXPECT_EQ(moert_context_create(nullptr, &options, &context),
            MOERT_INVALID_ARGUMENT);
  EXPECT_NE(std::strstr(moert_last_error(), "-1"), nullptr);
  options.timeout_seconds = 0;
  options.backend = "tpu";
  EXPECT_EQ(moert_context_create(nullptr, &options, &context),
            MOERT_UNAVAILABLE);
  EXPECT_STREQ(moert_last_error(), "rank 0: this runtime has no 'tpu' backend");
  moert_bootstrap bootstrap{};
  bootstrap.struct_size = sizeof(bootstrap);
  bootstrap.rank = 2;
  bootstrap.size = 2;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_INVALID_ARGUMENT);
  bootstrap.rank = 0;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(context, nullptr);
  moert_context_destroy(nullptr);
  EXPECT_EQ(moert_context_size(nullptr), 0);
  EXPECT_EQ(moert_artifact_num_entries(nullptr), 0u);
  EXPECT_EQ(moert_entry_call(nullptr, nullptr, 0, nullptr, 0),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_code_name(MOERT_TIMEOUT), "TIMEOUT");
  EXPECT_STREQ(moert_version(), "0.1.0");
}

static int32_t refuse(void *, const void *, size_t, void *, double) {
  return 7;
}

static int32_t refuseAndExplain(void *, const void *, size_t, void *, double,
                                char *error, size_t errorBytes) {
  snprintf(error, errorBytes, "worker 1 of the pool has left");
  return 1;
}

// Only the embedder knows which rank is missing; callers that were compiled
// before it could say so go on as they are.
TEST(CApiGroupTest, AllGatherThatFails) {
  moert_bootstrap bootstrap{sizeof(bootstrap), 0,      2,
                            nullptr,           refuse, refuseAndExplain};
  moert_context *context = nullptr;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_PEER_FAILED);
  EXPECT_NE(std::strstr(moert_last_error(),
                        "bootstrap: worker 1 of the pool has left"),
            nullptr)
      << moert_last_error();
  bootstrap.allgather = nullptr;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_PEER_FAILED);
  bootstrap.allgather = refuse;
  bootstrap.struct_size = offsetof(moert_bootstrap, allgather_explained);
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_PEER_FAILED);
  EXPECT_NE(std::strstr(moert_last_error(), "returned 7"), nullptr)
      << moert_last_error();
  bootstrap.struct_size -= 1;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(context, nullptr);
}

namespace {
/// An embedder's all-gather among threads.
struct Exchange {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<char> gathering, gathered;
  int size, arrived = 0;
  uint64_t round = 0;
};
struct ExchangeRank {
  Exchange *exchange;
  int rank;
};
} // namespace

static int32_t allGather(void *user, const void *in, size_t bytes, void *out,
                         double timeoutSeconds) {
  auto *self = static_cast<ExchangeRank *>(user);
  Exchange &exchange = *self->exchange;
  std::unique_lock<std::mutex> lock(exchange.mutex);
  uint64_t round = exchange.round;
  exchange.gathering.resize(bytes * exchange.size);
  std::memcpy(exchange.gathering.data() + bytes * self->rank, in, bytes);
  if (++exchange.arrived == exchange.size) {
    exchange.gathered.swap(exchange.gathering);
    exchange.arrived = 0;
    ++exchange.round;
    exchange.changed.notify_all();
  } else if (!exchange.changed.wait_for(
                 lock, std::chrono::duration<double>(timeoutSeconds),
                 [&] { return exchange.round != round; })) {
    return 1;
  }
  std::memcpy(out, exchange.gathered.data(), bytes * exchange.size);
  return 0;
}

/// What an embedder does with one rank of a group of four.
static void embed(int rank, Exchange &exchange) {
  ExchangeRank self{&exchange, rank};
  moert_bootstrap bootstrap{sizeof(bootstrap), rank, 4, &self, allGather};
  moert_options options{sizeof(options), 20, size_t(1) << 30, "host"};
  moert_context *context = nullptr;
  ASSERT_MOERT(moert_context_create(&bootstrap, &options, &context));
  void *block = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 64, &block));
  EXPECT_EQ(moert_symm_peer(context, block, rank), block);
  *static_cast<int *>(moert_symm_peer(context, block, (rank + 1) % 4)) = rank;
  moert_artifact *loaded = nullptr;
  ASSERT_MOERT(
      moert_artifact_load(context, artifact("exchange4").c_str(), &loaded));
  EXPECT_EQ(*static_cast<int *>(block), (rank + 3) % 4);
  EXPECT_EQ(moert_symm_peer(context, block, 4), nullptr);
  ASSERT_MOERT(moert_symm_free(context, block));
  moert_entry *gather = nullptr;
  ASSERT_MOERT(moert_artifact_entry(loaded, "gather", &gather));

  int64_t zero = 0;
  DLTensor scalar{};
  scalar.data = &zero;
  scalar.device = {kDLCPU, 0};
  scalar.dtype = {kDLInt, 64, 1};
  Matrix in(rank, 4);
  const DLTensor *inputs[] = {&scalar, &scalar, &in.tensor};
  DLManagedTensor *out = nullptr;
  for (int i = 0; i < 10; ++i) {
    ASSERT_MOERT(moert_entry_call(gather, inputs, 3, &out, 1));
    EXPECT_EQ(out->dl_tensor.shape[0], 6);
    out->deleter(out);
  }
  // One that is still in its last call would hear of the failure there.
  ASSERT_MOERT(moert_symm_alloc(context, 64, &block));
  ASSERT_MOERT(moert_symm_free(context, block));
  // One rank fails, all hear of it, and the group goes on after a reset.
  int64_t mode = rank == 3 ? 1 : 0;
  DLTensor modeTensor = scalar, who = scalar;
  int64_t three = 3;
  modeTensor.data = &mode;
  who.data = &three;
  inputs[0] = &modeTensor;
  inputs[1] = &who;
  EXPECT_EQ(moert_entry_call(gather, inputs, 3, &out, 1),
            rank == 3 ? MOERT_INVALID_EXPERT : MOERT_PEER_FAILED);
  EXPECT_NE(std::strstr(moert_last_error(), "rank 3: test.gather at"), nullptr)
      << moert_last_error();
  EXPECT_EQ(moert_context_failed_rank(context), 3);
  ASSERT_MOERT(moert_context_reset(context));
  inputs[0] = inputs[1] = &scalar;
  ASSERT_MOERT(moert_entry_call(gather, inputs, 3, &out, 1));
  out->deleter(out);
  ASSERT_MOERT(moert_artifact_unload(loaded));
  moert_context_destroy(context);
}

TEST(CApiGroupTest, EmbedderWithItsOwnAllGather) {
  Exchange exchange;
  exchange.size = 4;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank)
    threads.emplace_back([&, rank] { embed(rank, exchange); });
  for (std::thread &thread : threads)
    thread.join();
}

//===----------------------------------------------------------------------===//
// Forks
//===----------------------------------------------------------------------===//

/// Runs `body` in a child, which is to end by itself; what it returns says
/// whether all was well.
template <typename Body> static void expectInChild(Body body) {
  pid_t child = fork();
  if (child == 0)
    _exit(body() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

/// A child of a rank is not the rank: what it does must not reach the group.
TEST_F(CApiTest, ForkedChildIsRefusedAndTheParentGoesOn) {
  moert_artifact *communicating = nullptr;
  moert_entry *rotate = nullptr;
  ASSERT_MOERT(moert_artifact_load(context, artifact("exchange1").c_str(),
                                   &communicating));
  ASSERT_MOERT(moert_artifact_entry(communicating, "rotate", &rotate));
  Matrix in(3, 4);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(rotate, inputs, 1, &out, 1));
  void *memory = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 64, &memory));
  pid_t parent = getpid();
  expectInChild([&] {
    std::string refused = "rank 0 is process " + std::to_string(parent) +
                          "; this is process " + std::to_string(getpid()) +
                          ", a fork of it, which has to join a group with a "
                          "context of its own";
    DLManagedTensor *other = nullptr;
    moert_artifact *again = nullptr;
    void *more = nullptr;
    float values[12];
    moert_code codes[] = {
        moert_entry_call(rotate, inputs, 1, &other, 1),
        moert_entry_call(entry("copy_f32"), inputs, 1, &other, 1),
        moert_entry_launch(rotate, inputs, 1, &other, 1, nullptr),
        moert_artifact_load(context, artifact("local").c_str(), &again),
        moert_artifact_unload(communicating),
        moert_context_reset(context),
        moert_context_fail(context, MOERT_IO, "no"),
        moert_context_synchronize(context, nullptr),
        moert_context_check(context),
        moert_tensor_copy_to_host(context, &in.tensor, values, sizeof(values)),
        moert_tensor_copy_from_host(context, &in.tensor, values,
                                    sizeof(values)),
        moert_symm_alloc(context, 64, &more),
        moert_symm_free(context, memory)};
    bool isFine = moert_last_error() == refused;
    for (moert_code code : codes)
      isFine &= code == MOERT_INVALID_ARGUMENT;
    // What asks nothing of the group works.
    isFine &= moert_context_size(context) == 1 &&
              valuesOf(out->dl_tensor) == in.values;
    out->deleter(out);
    moert_context_destroy(context);
    // A context of its own is fine.
    moert_context *own = nullptr;
    isFine &=
        moert_context_create(nullptr, nullptr, &own) == MOERT_OK &&
        moert_artifact_load(own, artifact("local").c_str(), &again) == MOERT_OK;
    moert_context_destroy(own);
    return isFine;
  });
  out->deleter(out);
  EXPECT_EQ(moert_context_failed_rank(context), -1);
  ASSERT_MOERT(moert_entry_call(rotate, inputs, 1, &out, 1));
  EXPECT_EQ(valuesOf(out->dl_tensor), in.values);
  out->deleter(out);
  ASSERT_MOERT(moert_symm_free(context, memory));
}

/// A limit on the size of files holds for symmetric memory, too. The process
/// has not asked for the signal, and does not get it.
TEST_F(CApiTest, LimitOnTheSizeOfFilesIsAnError) {
  expectInChild([] {
    rlimit small = {1 << 20, 1 << 20};
    moert_context *own = nullptr;
    void *memory = nullptr;
    if (moert_context_create(nullptr, nullptr, &own) != MOERT_OK ||
        setrlimit(RLIMIT_FSIZE, &small) != 0)
      return false;
    bool isFine =
        moert_symm_alloc(own, 4 << 20, &memory) == MOERT_OUT_OF_MEMORY &&
        std::string(moert_last_error()) ==
            "rank 0: allocation of 4194304 bytes of symmetric memory: cannot "
            "reserve a memory file of 4194304 bytes: files of this process may "
            "have 1048576 bytes at most; raise that limit (ulimit -f)";
    if (!isFine)
      fprintf(stderr, "%s\n", moert_last_error());
    return isFine;
  });
}

/// More than is free, though not more than the machine has.
TEST_F(CApiTest, MoreSymmetricMemoryThanIsFreeIsAnError) {
  moert_options options{};
  options.struct_size = sizeof(options);
  options.symm_reserve_bytes = size_t(1) << 44;
  moert_context *large = nullptr;
  ASSERT_MOERT(moert_context_create(nullptr, &options, &large));
  size_t bytes =
      size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE));
  bytes = bytes / 1000 * 999 >> 21 << 21;
  void *memory = nullptr;
  EXPECT_EQ(moert_symm_alloc(large, bytes, &memory), MOERT_OUT_OF_MEMORY);
  std::string number = std::to_string(bytes);
  EXPECT_EQ(std::string(moert_last_error())
                .rfind("rank 0: allocation of " + number +
                           " bytes of symmetric memory: " + number,
                       0),
            0u)
      << moert_last_error();
  ASSERT_MOERT(moert_symm_alloc(large, 64, &memory));
  moert_context_destroy(large);
}
