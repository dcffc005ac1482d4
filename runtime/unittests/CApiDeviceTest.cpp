//===- CApiDeviceTest.cpp - tests of launches and symmetric tensors -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// What the C API has for devices, on the host backend, which has none.
///
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "moe-runtime/Runtime.h"

#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#define ASSERT_MOERT(expr) ASSERT_EQ((expr), MOERT_OK) << moert_last_error()

static DLTensor vectorOf(float *data, int64_t *count) {
  DLTensor tensor{};
  tensor.data = data;
  tensor.device = {kDLCPU, 0};
  tensor.dtype = {kDLFloat, 32, 1};
  tensor.ndim = 1;
  tensor.shape = count;
  return tensor;
}

namespace {
class CApiDeviceTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_MOERT(moert_context_create(nullptr, nullptr, &context));
  }
  void TearDown() override { moert_context_destroy(context); }
  moert_entry *load(const char *file, const char *name) {
    moert_artifact *loaded = nullptr;
    moert_entry *entry = nullptr;
    EXPECT_EQ(moert_artifact_load(context, artifact(file).c_str(), &loaded),
              MOERT_OK)
        << moert_last_error();
    EXPECT_EQ(moert_artifact_entry(loaded, name, &entry), MOERT_OK);
    artifactLoaded = loaded;
    return entry;
  }
  /// Of the artifact loaded last.
  moert_entry *entryOf(const char *name) {
    moert_entry *entry = nullptr;
    EXPECT_EQ(moert_artifact_entry(artifactLoaded, name, &entry), MOERT_OK);
    return entry;
  }
  moert_context *context = nullptr;
  moert_artifact *artifactLoaded = nullptr;
};
} // namespace

TEST_F(CApiDeviceTest, LaunchIsACallOnTheHost) {
  EXPECT_EQ(moert_context_device(context).device_type, kDLCPU);
  EXPECT_STREQ(moert_context_device_name(context), "");
  moert_entry *entry = load("local", "copy_f32");
  DLDevice where = {kDLCUDA, 1};
  ASSERT_MOERT(moert_entry_arg_device(entry, 0, &where));
  EXPECT_EQ(where.device_type, kDLCPU);
  float values[6] = {1, 2, 3, 4, 5, 6};
  int64_t shape[2] = {2, 3};
  DLTensor in = vectorOf(values, shape);
  in.ndim = 2;
  const DLTensor *inputs[] = {&in};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_launch(entry, inputs, 1, &out, 1, nullptr));
  ASSERT_MOERT(moert_context_synchronize(context, nullptr));
  ASSERT_MOERT(moert_context_check(context));
  float seen[6] = {};
  ASSERT_MOERT(
      moert_tensor_copy_to_host(context, &out->dl_tensor, seen, sizeof(seen)));
  EXPECT_EQ(std::memcmp(seen, values, sizeof(seen)), 0);
  out->deleter(out);
  int notAStream = 0;
  EXPECT_EQ(moert_entry_launch(entry, inputs, 1, &out, 1, &notAStream),
            MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(out, nullptr);
  EXPECT_NE(std::strstr(moert_last_error(), "no streams"), nullptr)
      << moert_last_error();
}

TEST_F(CApiDeviceTest, CheckReturnsTheGroupsError) {
  ASSERT_MOERT(moert_context_fail(context, MOERT_IO, "the disk is full"));
  EXPECT_EQ(moert_context_check(context), MOERT_IO);
  EXPECT_EQ(moert_context_synchronize(context, nullptr), MOERT_IO);
  EXPECT_STREQ(moert_last_error(), "rank 0: the disk is full");
  ASSERT_MOERT(moert_context_reset(context));
  ASSERT_MOERT(moert_context_check(context));
}

TEST_F(CApiDeviceTest, Copies) {
  float matrix[12], packed[6] = {};
  for (int i = 0; i < 12; ++i)
    matrix[i] = float(i);
  // Columns 0 and 2 of the rows, last row first.
  int64_t shape[2] = {3, 2}, strides[2] = {-4, 2};
  DLTensor tensor = vectorOf(matrix, shape);
  tensor.ndim = 2;
  tensor.strides = strides;
  tensor.byte_offset = 8 * sizeof(float);
  ASSERT_MOERT(
      moert_tensor_copy_to_host(context, &tensor, packed, sizeof(packed)));
  EXPECT_EQ(std::vector<float>(packed, packed + 6),
            (std::vector<float>{8, 10, 4, 6, 0, 2}));
  EXPECT_EQ(moert_tensor_copy_to_host(context, &tensor, packed, 20),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(),
               "rank 0: the tensor has 24 bytes, but 20 are to be copied");
  EXPECT_EQ(
      moert_tensor_copy_from_host(context, &tensor, packed, sizeof(packed)),
      MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "rank 0: the tensor is not dense");
  tensor.strides = nullptr;
  tensor.byte_offset = 0;
  ASSERT_MOERT(
      moert_tensor_copy_from_host(context, &tensor, packed, sizeof(packed)));
  EXPECT_EQ(matrix[1], 10);
  tensor.device = {kDLCUDA, 0};
  EXPECT_EQ(moert_tensor_copy_to_host(context, &tensor, packed, sizeof(packed)),
            MOERT_INVALID_ARGUMENT);
}

TEST_F(CApiDeviceTest, OptionsOfOlderCallers) {
  moert_options options{};
  options.struct_size = offsetof(moert_options, device);
  options.device = 12345; // not looked at
  moert_context *other = nullptr;
  ASSERT_MOERT(moert_context_create(nullptr, &options, &other));
  moert_context_destroy(other);
  options.struct_size -= 1;
  EXPECT_EQ(moert_context_create(nullptr, &options, &other),
            MOERT_INVALID_ARGUMENT);
}

TEST_F(CApiDeviceTest, SymmetricArgumentsAndResults) {
  moert_entry *entry = load("symmetric1", "from_next");
  moert_tensor_type type{};
  ASSERT_MOERT(moert_entry_arg(entry, 0, &type));
  EXPECT_EQ(type.symmetric, 1);
  void *memory = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 8 * sizeof(float), &memory));
  auto *values = static_cast<float *>(memory);
  int64_t count = 8;
  DLTensor in = vectorOf(values, &count);
  const DLTensor *inputs[] = {&in};
  DLManagedTensor *out = nullptr, *again = nullptr;
  for (int i = 0; i < 8; ++i)
    values[i] = float(i);
  ASSERT_MOERT(moert_entry_call(entry, inputs, 1, &out, 1));
  auto *result = static_cast<float *>(out->dl_tensor.data);
  EXPECT_EQ(std::memcmp(result, values, sizeof(float) * 8), 0);
  // The next call writes over it, and the deleter frees nothing.
  values[3] = 42;
  ASSERT_MOERT(moert_entry_call(entry, inputs, 1, &again, 1));
  EXPECT_EQ(again->dl_tensor.data, out->dl_tensor.data);
  EXPECT_EQ(result[3], 42);
  again->deleter(again);
  EXPECT_EQ(result[3], 42);
  // A symmetric result may be a symmetric argument of another entry.
  moert_entry *also = entryOf("also");
  const DLTensor *chained[] = {&out->dl_tensor};
  DLManagedTensor *other = nullptr;
  ASSERT_MOERT(moert_entry_call(also, chained, 1, &other, 1));
  EXPECT_EQ(std::memcmp(other->dl_tensor.data, values, sizeof(float) * 8), 0);
  // And back, since the entry writes to its own result alone.
  chained[0] = &other->dl_tensor;
  ASSERT_MOERT(moert_entry_call(entry, chained, 1, &again, 1));
  EXPECT_EQ(std::memcmp(again->dl_tensor.data, values, sizeof(float) * 8), 0);
  again->deleter(again);
  other->deleter(other);
  out->deleter(out);
  ASSERT_MOERT(moert_symm_free(context, memory));
}

/// What a call writes to cannot be its argument: each rank would read what
/// others have overwritten.
TEST_F(CApiDeviceTest, SymmetricArgumentThatTheCallWritesTo) {
  moert_entry *entry = load("symmetric1", "from_next");
  void *memory = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 256, &memory));
  int64_t count = 64;
  DLTensor in = vectorOf(static_cast<float *>(memory), &count);
  const DLTensor *inputs[] = {&in};
  DLManagedTensor *mine = nullptr, *other = nullptr, *out = nullptr;
  ASSERT_MOERT(moert_entry_call(entry, inputs, 1, &mine, 1));
  ASSERT_MOERT(moert_entry_call(entryOf("also"), inputs, 1, &other, 1));
  auto *result = static_cast<float *>(mine->dl_tensor.data);
  auto expectRefused = [&](float *data, int64_t length) {
    DLTensor overlapping = vectorOf(data, &length);
    const DLTensor *wrong[] = {&overlapping};
    EXPECT_EQ(moert_entry_call(entry, wrong, 1, &out, 1),
              MOERT_INVALID_ARGUMENT);
    EXPECT_STREQ(
        moert_last_error(),
        "rank 0: argument 0 of entry 'from_next': it lies where this "
        "call writes: a symmetric result of the entry itself, or other "
        "memory of its artifact's workspace; pass a copy in memory of "
        "moert_symm_alloc");
    ASSERT_MOERT(moert_context_reset(context));
  };
  expectRefused(result, 64);      // the result itself
  expectRefused(result + 32, 8);  // a part
  expectRefused(result + 60, 8);  // its end, and the start of another's
  expectRefused(result + 128, 4); // signals
  // All of another entry's result is fine, and so is a part of it.
  for (int64_t length : {64, 8}) {
    DLTensor others =
        vectorOf(static_cast<float *>(other->dl_tensor.data), &length);
    const DLTensor *right[] = {&others};
    ASSERT_MOERT(moert_entry_call(entry, right, 1, &out, 1));
    out->deleter(out);
  }
  mine->deleter(mine);
  other->deleter(other);
}

TEST_F(CApiDeviceTest, SymmetricArgumentOfTwoBlocks) {
  moert_entry *entry = load("symmetric1", "from_next");
  void *first = nullptr, *second = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 256, &first));
  ASSERT_MOERT(moert_symm_alloc(context, 256, &second));
  int64_t count = 64;
  DLTensor in = vectorOf(static_cast<float *>(first) + 32, &count);
  const DLTensor *inputs[] = {&in};
  DLManagedTensor *out = nullptr;
  EXPECT_EQ(moert_entry_call(entry, inputs, 1, &out, 1),
            MOERT_INVALID_ARGUMENT);
  // The workspace comes first in the heap.
  EXPECT_STREQ(
      moert_last_error(),
      "rank 0: argument 0 of entry 'from_next': it has 256 bytes from "
      "offset 4224 of the symmetric heap, which is more than one block "
      "that was given out");
}

TEST_F(CApiDeviceTest, ArgumentThatIsNotSymmetric) {
  moert_entry *entry = load("symmetric1", "from_next");
  void *memory = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 1024, &memory));
  float ordinary[8] = {};
  int64_t count = 8, stride = 2;
  DLTensor in = vectorOf(ordinary, &count);
  const DLTensor *inputs[] = {&in};
  DLManagedTensor *out = nullptr;
  auto refused = [&](const char *why) {
    EXPECT_EQ(moert_entry_call(entry, inputs, 1, &out, 1),
              MOERT_INVALID_ARGUMENT);
    EXPECT_NE(std::strstr(moert_last_error(), why), nullptr)
        << moert_last_error();
    (void)moert_context_reset(context);
  };
  refused("not in this rank's slice of the symmetric heap");
  in.data = memory;
  in.strides = &stride;
  refused("symmetric memory, which is dense");
  in.strides = nullptr;
  in.byte_offset = 4;
  refused("aligned to 16 bytes");
}
