//===- CApiTest.cpp - tests of the C API, from outside the library --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiFixture.h"

#include <cmath>
#include <cstring>
#include <thread>

namespace {
class CApiTest : public LocalArtifactTest {
protected:
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
};
} // namespace

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
             "has ABI version 2, this runtime understands version 5"},
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
  EXPECT_STREQ(moert_last_error(),
               "rank 0: expected the backend 'host' or 'cuda', got 'tpu'");
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
