//===- CApiOutputsTest.cpp - results in memory of the caller's ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiFixture.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

namespace {
class CApiOutputsTest : public LocalArtifactTest {
protected:
  moert_code callInto(const char *name, const DLTensor &in,
                      std::vector<const DLTensor *> outputs) {
    const DLTensor *inputs[] = {&in};
    return moert_entry_call_into(entry(name), inputs, 1, outputs.data(),
                                 outputs.size());
  }
  /// A call that is refused for its only output.
  void expectRefused(const char *name, const DLTensor &in, const DLTensor *out,
                     const std::string &message) {
    EXPECT_EQ(callInto(name, in, {out}), MOERT_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(moert_last_error()), "rank 0: output 0 of entry '" +
                                                   std::string(name) +
                                                   "': " + message);
  }
};
} // namespace

static const float untouched = -77;

namespace {
/// Room for a matrix, and a guard behind it.
struct Room : Matrix {
  Room(int64_t rows, int64_t cols) : Matrix(rows, cols) {
    values.assign(rows * cols + 3, untouched);
    tensor.data = values.data();
  }
};
} // namespace

static void expectFilled(const Room &room, const std::vector<float> &values) {
  ASSERT_EQ(room.values.size(), values.size() + 3);
  for (size_t i = 0; i < room.values.size(); ++i)
    EXPECT_EQ(room.values[i], i < values.size() ? values[i] : untouched) << i;
}

TEST_F(CApiOutputsTest, EntryWritesToTheCallersMemory) {
  Matrix in(3, 5);
  Room room(3, 5);
  ASSERT_MOERT(callInto("copy_f32", in.tensor, {&room.tensor}));
  expectFilled(room, in.values);
  const DLTensor *inputs[] = {&in.tensor}, *outputs[] = {&room.tensor};
  in.values[4] = 99;
  ASSERT_MOERT(moert_entry_launch_into(entry("copy_f32"), inputs, 1, outputs, 1,
                                       nullptr));
  expectFilled(room, in.values);
}

/// A result that the entry has elsewhere is brought to where it is wanted:
/// from memory it did not ask for, of another result, or with strides.
TEST_F(CApiOutputsTest, ResultsThatAreElsewhereAreCopied) {
  Matrix in(2, 3);
  Room first(2, 3), second(2, 3), column(2, 1);
  ASSERT_MOERT(callInto("many", in.tensor, {&first.tensor, &second.tensor}));
  expectFilled(first, in.values);
  expectFilled(second, in.values);
  ASSERT_MOERT(callInto("column", in.tensor, {&column.tensor}));
  expectFilled(column, {2, 5});
  ASSERT_MOERT(callInto("expf", in.tensor, {&first.tensor}));
  std::vector<float> powers;
  for (float x : in.values)
    powers.push_back(std::exp(x));
  expectFilled(first, powers);
}

TEST_F(CApiOutputsTest, OffsetsScalarsAndEmptyOutputs) {
  Matrix in(2, 2);
  Room room(2, 2);
  room.tensor.byte_offset = 2 * sizeof(float);
  ASSERT_MOERT(callInto("copy_f32", in.tensor, {&room.tensor}));
  EXPECT_EQ(room.values,
            (std::vector<float>{untouched, untouched, 0, 1, 2, 3, untouched}));
  double value = 21, twice = 0;
  DLTensor scalar{}, result{};
  scalar.data = &value;
  scalar.device = {kDLCPU, 0};
  scalar.dtype = {kDLFloat, 64, 1};
  result = scalar;
  result.data = &twice;
  ASSERT_MOERT(callInto("scalar", scalar, {&result}));
  EXPECT_EQ(twice, 42);

  Matrix none(0, 7), noRoom(0, 7);
  none.tensor.data = noRoom.tensor.data = nullptr;
  ASSERT_MOERT(callInto("copy_f32", none.tensor, {&noRoom.tensor}));
}

TEST_F(CApiOutputsTest, OutputsAreChecked) {
  Matrix in(2, 3);
  Room room(2, 3);
  const DLTensor good = room.tensor;
  DLTensor out = good;
  expectRefused("copy_f32", in.tensor, nullptr, "no tensor was given");
  out.dtype = {kDLFloat, 16, 1};
  expectRefused("copy_f32", in.tensor, &out,
                "expected element type f32, got f16");
  out = good;
  out.device = {kDLCUDA, 1};
  expectRefused("copy_f32", in.tensor, &out,
                "expected a tensor in host memory, got DLPack device type 2");
  out = good;
  out.ndim = 1;
  expectRefused("copy_f32", in.tensor, &out,
                "expected rank 2 f32[2, 3], got rank 1 [2]");
  out = good;
  out.shape = nullptr;
  expectRefused("copy_f32", in.tensor, &out, "the tensor has no shape");
  int64_t other[] = {3, 3};
  out = good;
  out.shape = other;
  expectRefused("copy_f32", in.tensor, &out,
                "expected extent 2 in dimension 0 of f32[2, 3], got [3, 3]");
  out = good;
  out.data = nullptr;
  expectRefused("copy_f32", in.tensor, &out, "the tensor has no data");
  int64_t transposed[] = {1, 2};
  out = good;
  out.strides = transposed;
  expectRefused(
      "copy_f32", in.tensor, &out,
      "expected a dense row-major tensor, got one with other strides");
  out = good;
  out.byte_offset = 2;
  expectRefused("copy_f32", in.tensor, &out,
                "expected memory aligned to 4 bytes, got an address that is 2 "
                "past a multiple of that");
  // Only the call knows this one: the artifact does not say its shape.
  out = good;
  out.shape = other;
  expectRefused("expf", in.tensor, &out,
                "expected shape [2, 3], which is that of the result, got [3, "
                "3]");
  EXPECT_EQ(callInto("copy_f32", in.tensor, {}), MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "rank 0: entry 'copy_f32' has 1 results, "
                                   "but 0 outputs were given");
  // All of it left the memory alone, and the next call is fine.
  EXPECT_EQ(room.values, std::vector<float>(9, untouched));
  ASSERT_MOERT(callInto("copy_f32", in.tensor, {&good}));
  expectFilled(room, in.values);
}

TEST_F(CApiOutputsTest, OutputsThatShareMemory) {
  Matrix in(2, 3);
  expectRefused("copy_f32", in.tensor, &in.tensor,
                "it shares memory with argument 0");
  Room room(5, 3);
  int64_t shape[] = {2, 3}, tall[] = {3, 2}, strides[] = {3, 1};
  DLTensor low = room.tensor, high = room.tensor;
  low.shape = high.shape = shape;
  high.byte_offset = 3 * sizeof(float);
  EXPECT_EQ(callInto("many", in.tensor, {&low, &high}), MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(),
               "rank 0: output 1 of entry 'many': it shares "
               "memory with output 0");
  // An argument with gaps: what lies in them is taken for it, too.
  DLTensor gaps = room.tensor, between = room.tensor;
  gaps.shape = tall;
  gaps.strides = strides;
  between.shape = tall;
  between.byte_offset = 8 * sizeof(float);
  EXPECT_EQ(callInto("copy_f32", gaps, {&between}), MOERT_OK)
      << moert_last_error();
  between.byte_offset = 7 * sizeof(float);
  expectRefused("copy_f32", gaps, &between, "it shares memory with argument 0");
  high.byte_offset = 6 * sizeof(float);
  ASSERT_MOERT(callInto("many", in.tensor, {&low, &high}));
}

TEST_F(CApiOutputsTest, ShapesBeforeTheCall) {
  Matrix in(4, 6);
  const DLTensor *inputs[] = {&in.tensor};
  int64_t shape[2] = {};
  ASSERT_MOERT(
      moert_entry_result_shape(entry("copy_f32"), inputs, 1, 0, shape));
  EXPECT_EQ(shape[0], 4);
  EXPECT_EQ(shape[1], 6);
  ASSERT_MOERT(moert_entry_result_shape(entry("column"), inputs, 1, 0, shape));
  EXPECT_EQ(shape[0], -1);
  EXPECT_EQ(shape[1], 1);
  EXPECT_EQ(moert_entry_result_shape(entry("copy_f32"), inputs, 1, 1, shape),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "index 1 of 1");
  EXPECT_EQ(moert_entry_result_shape(entry("copy_f32"), inputs, 0, 0, shape),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(),
               "entry 'copy_f32' has 1 arguments, but 0 were given");
  in.tensor.ndim = 1;
  EXPECT_EQ(moert_entry_result_shape(entry("copy_f32"), inputs, 1, 0, shape),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(),
               "argument 0 of entry 'copy_f32': expected a tensor of rank 2, "
               "from which result 0 has an extent");
  EXPECT_EQ(moert_entry_result_shape(entry("copy_f32"), inputs, 1, 0, nullptr),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "shape is NULL");
}

TEST_F(CApiOutputsTest, FailuresAndMissingPointers) {
  EXPECT_EQ(moert_entry_call_into(entry("fail"), nullptr, 0, nullptr, 0),
            MOERT_INVALID_COUNT);
  EXPECT_EQ(moert_entry_call_into(nullptr, nullptr, 0, nullptr, 0),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "entry is NULL");
  EXPECT_EQ(moert_entry_call_into(entry("copy_f32"), nullptr, 1, nullptr, 0),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "inputs is NULL");
  Matrix in(1, 1);
  const DLTensor *inputs[] = {&in.tensor};
  EXPECT_EQ(moert_entry_call_into(entry("copy_f32"), inputs, 1, nullptr, 1),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "outputs is NULL");
  int stream = 0;
  Room room(1, 1);
  const DLTensor *outputs[] = {&room.tensor};
  EXPECT_NE(moert_entry_launch_into(entry("copy_f32"), inputs, 1, outputs, 1,
                                    &stream),
            MOERT_OK);
}

//===----------------------------------------------------------------------===//
// Symmetric results
//===----------------------------------------------------------------------===//

namespace {
/// kept.so, whose results are symmetric.
class CApiSymmetricOutputsTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_MOERT(moert_context_create(nullptr, nullptr, &context));
    moert_artifact *kept = nullptr;
    ASSERT_MOERT(moert_artifact_load(context, artifact("kept").c_str(), &kept));
    ASSERT_MOERT(moert_artifact_entry(kept, "keep", &keep));
    ASSERT_MOERT(moert_artifact_entry(kept, "keep_symmetric", &keepSymmetric));
    for (float *&block : blocks) {
      void *memory = nullptr;
      ASSERT_MOERT(moert_symm_alloc(context, 2 * sizeof(values), &memory));
      block = static_cast<float *>(memory);
    }
  }
  void TearDown() override { moert_context_destroy(context); }
  DLTensor tensorAt(float *data) {
    DLTensor tensor{};
    tensor.data = data;
    tensor.device = {kDLCPU, 0};
    tensor.dtype = {kDLFloat, 32, 1};
    tensor.ndim = 1;
    tensor.shape = shape;
    return tensor;
  }
  moert_code call(moert_entry *entry, float *in, float *out) {
    DLTensor input = tensorAt(in), output = tensorAt(out);
    const DLTensor *inputs[] = {&input}, *outputs[] = {&output};
    return moert_entry_call_into(entry, inputs, 1, outputs, 1);
  }
  moert_context *context = nullptr;
  moert_entry *keep = nullptr, *keepSymmetric = nullptr;
  float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  int64_t shape[1] = {8};
  float *blocks[3] = {};
};
} // namespace

/// Several results of an entry live at once, and are arguments of another.
TEST_F(CApiSymmetricOutputsTest, ResultsLieInMemoryOfTheCallers) {
  ASSERT_MOERT(call(keep, values, blocks[0]));
  values[0] = 10;
  ASSERT_MOERT(call(keep, values, blocks[1]));
  EXPECT_EQ(blocks[0][0], 1);
  EXPECT_EQ(blocks[1][0], 10);
  EXPECT_EQ(blocks[1][7], 8);
  ASSERT_MOERT(call(keepSymmetric, blocks[0], blocks[2]));
  EXPECT_EQ(blocks[2][0], 1);
  // Without memory of the caller's it is in the workspace, as before.
  DLTensor input = tensorAt(values);
  const DLTensor *inputs[] = {&input};
  DLManagedTensor *own = nullptr;
  ASSERT_MOERT(moert_entry_call(keep, inputs, 1, &own, 1));
  auto *memory = static_cast<float *>(own->dl_tensor.data);
  EXPECT_EQ(memory[0], 10);
  ASSERT_MOERT(call(keepSymmetric, memory, blocks[2]));
  EXPECT_EQ(blocks[2][0], 10);
  own->deleter(own);
}

TEST_F(CApiSymmetricOutputsTest, OtherMemoryIsRefused) {
  struct Case {
    float *memory;
    const char *message;
  };
  float ordinary[8];
  DLTensor input = tensorAt(values);
  const DLTensor *inputs[] = {&input};
  DLManagedTensor *own = nullptr;
  ASSERT_MOERT(moert_entry_call(keep, inputs, 1, &own, 1));
  auto *workspace = static_cast<float *>(own->dl_tensor.data);
  for (const Case &c : {
           Case{ordinary, "it has to be symmetric memory, but it is not in "
                          "this rank's slice of the symmetric heap"},
           {blocks[0] + 1, "it has to be symmetric memory aligned to 16 bytes"},
           {workspace, "it lies in the workspace of the artifact, where this "
                       "call writes other things as well; give memory of "
                       "moert_symm_alloc"},
       }) {
    EXPECT_EQ(call(keep, values, c.memory), MOERT_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(moert_last_error()),
              std::string("rank 0: output 0 of entry 'keep': ") + c.message);
    ASSERT_MOERT(moert_context_reset(context));
  }
  own->deleter(own);
}

//===----------------------------------------------------------------------===//
// Artifacts in memory
//===----------------------------------------------------------------------===//

static std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(CApiOutputsTest, ArtifactFromMemory) {
  std::string bytes = readFile(artifact("local"));
  moert_artifact *loaded = nullptr;
  ASSERT_MOERT(moert_artifact_load_bytes(context, bytes.data(), bytes.size(),
                                         "layer", &loaded));
  // They are copied.
  bytes.assign(bytes.size(), '\0');
  moert_entry *copy = nullptr;
  ASSERT_MOERT(moert_artifact_entry(loaded, "copy_f32", &copy));
  Matrix in(2, 2);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(copy, inputs, 1, &out, 1));
  EXPECT_EQ(valuesOf(out->dl_tensor), in.values);
  out->deleter(out);
  ASSERT_MOERT(moert_artifact_unload(loaded));
}

TEST_F(CApiOutputsTest, BytesThatAreNoArtifact) {
  moert_artifact *loaded = nullptr;
  std::string bytes = readFile(artifact("bad-symbol"));
  EXPECT_EQ(moert_artifact_load_bytes(context, bytes.data(), bytes.size(),
                                      "layer", &loaded),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(),
               "rank 0: layer: the manifest names entry 'f', but the symbol "
               "moe_entry_g is missing");
  for (size_t size : {size_t(0), size_t(10), bytes.size() / 2}) {
    EXPECT_NE(moert_artifact_load_bytes(context, bytes.data(), size, nullptr,
                                        &loaded),
              MOERT_OK);
    EXPECT_EQ(std::string(moert_last_error())
                  .rfind("rank 0: artifact in memory: ", 0),
              0u)
        << moert_last_error();
    EXPECT_EQ(loaded, nullptr);
  }
  EXPECT_EQ(moert_artifact_load_bytes(context, nullptr, 4, "layer", &loaded),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "data is NULL");
  EXPECT_EQ(moert_artifact_load_bytes(nullptr, "x", 1, "layer", &loaded),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "context is NULL");
}
