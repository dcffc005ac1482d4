//===- OutputTest.cpp - conformance: results in memory of the caller's ----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Artifacts.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class OutputTest : public GroupTest {};

/// Floats in memory of the context's device, as a tensor of rank 1 or 2.
class Buffer {
public:
  Buffer(Context &context, size_t count, float value)
      : context(context), count(count) {
    tensor.data = context.memory().allocate(int64_t(count * 4), 64);
    EXPECT_NE(tensor.data, nullptr);
    context.memory().keep(tensor.data);
    describe();
    fill(value);
  }
  /// In memory of symmAlloc.
  Buffer(Context &context, size_t count, float value, char *symmetric)
      : context(context), count(count), isOwned(false) {
    tensor.data = symmetric;
    describe();
    fill(value);
  }
  ~Buffer() {
    if (isOwned)
      context.memory().free(tensor.data);
  }
  Buffer(const Buffer &) = delete;

  void fill(float value) {
    std::vector<float> values(count, value);
    write(values);
  }
  void write(const std::vector<float> &values) {
    int64_t all[] = {int64_t(values.size())};
    DLTensor flat = tensor;
    flat.ndim = 1;
    flat.shape = all;
    ASSERT_OK(context.copyFromHost(flat, values.data(), values.size() * 4));
  }
  std::vector<float> read() {
    int64_t all[] = {int64_t(count)};
    DLTensor flat = tensor;
    flat.ndim = 1;
    flat.shape = all;
    std::vector<float> values(count);
    Status status = context.copyToHost(flat, values.data(), count * 4);
    EXPECT_TRUE(status.isOk()) << status.message();
    return values;
  }
  /// Rows of four floats, as exchange.c has them.
  const DLTensor *rows(int64_t number) {
    shape[0] = number;
    shape[1] = 4;
    tensor.ndim = 2;
    return &tensor;
  }
  const DLTensor *vector(int64_t number) {
    shape[0] = number;
    tensor.ndim = 1;
    return &tensor;
  }

  DLTensor tensor{};

private:
  void describe() {
    tensor.device = context.device().device();
    tensor.dtype = {kDLFloat, 32, 1};
    tensor.shape = shape;
  }

  Context &context;
  size_t count;
  bool isOwned = true;
  int64_t shape[2] = {};
};
} // namespace

INSTANTIATE_TEST_SUITE_P(Output, OutputTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

static constexpr float untouched = -77;

/// Calls an entry of exchange.c that has a mode.
static Status gatherInto(Context &context, Entry &entry,
                         const std::vector<float> &rows, Mode mode,
                         const DLTensor *output) {
  int64_t modes[2] = {mode, context.rank()}, shape[2] = {};
  DLTensor scalars[2] = {}, matrix = {};
  for (int i = 0; i < 2; ++i) {
    scalars[i].data = &modes[i];
    scalars[i].device = {kDLCPU, 0};
    scalars[i].dtype = {kDLInt, 64, 1};
  }
  matrix.data = const_cast<float *>(rows.data());
  matrix.device = {kDLCPU, 0};
  matrix.dtype = {kDLFloat, 32, 1};
  matrix.ndim = 2;
  matrix.shape = shape;
  shape[0] = int64_t(rows.size()) / 4;
  shape[1] = 4;
  return context.callInto(entry, {&scalars[0], &scalars[1], &matrix}, {output});
}

/// results_s1. "gather" asks for the memory of its result; "twice" does not,
/// and `returnInput` and `returnStatic` return what is not theirs.
TEST_P(OutputTest, CallsWriteToTheCallersMemory) {
  for (int size = 1; size <= 4; ++size)
    runGroup(GetParam(), size, [](Context &context) {
      auto artifact = context.load(
          artifactPath(format("exchange%d", context.size())), "art");
      ASSERT_OK(artifact.status());
      for (const char *name : {"gather", "twice"}) {
        Entry &entry = **(*artifact)->entry(name);
        for (int round = 0; round < 10; ++round) {
          std::vector<float> expected = gathered(context.size(), round);
          size_t count = expected.size();
          Buffer out(context, count + 4, untouched);
          ASSERT_OK(gatherInto(context, entry, rowsOf(context.rank(), round),
                               behave, out.rows(int64_t(count) / 4)));
          expected.resize(count + 4, untouched);
          ASSERT_EQ(out.read(), expected) << name << " round " << round;
        }
      }
      Entry &entry = **(*artifact)->entry("gather");
      std::vector<float> rows = {5, 6, 7, 8};
      Buffer out(context, 4, untouched);
      ASSERT_OK(gatherInto(context, entry, rows, returnInput, out.rows(1)));
      EXPECT_EQ(out.read(), rows);
      ASSERT_OK(gatherInto(context, entry, rows, returnStatic, out.rows(1)));
      EXPECT_EQ(out.read(), (std::vector<float>{1, 2, 3, 4}));
      // The outputs are what is left.
      EXPECT_EQ(context.memory().stats().liveBlocks, 1u);
    });
}

/// A shape that only the call knows.
TEST_P(OutputTest, WrongShapeIsAnErrorOfAllRanks) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange2"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("gather");
    std::vector<float> rows = {5, 6, 7, 8};
    Buffer out(context, 12, untouched);
    int64_t number = context.rank() == 1 ? 3 : 2;
    Status status = gatherInto(context, entry, rows, behave, out.rows(number));
    if (context.rank() == 1) {
      EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT);
      EXPECT_EQ(status.message(),
                "rank 1: output 0 of entry 'gather': expected shape [2, 4], "
                "which is that of the result, got [3, 4]");
    }
    ASSERT_OK(context.boot().barrier());
    EXPECT_EQ(context.originRank(), 1);
    ASSERT_OK(context.reset());
    ASSERT_OK(gatherInto(context, entry, rows, behave, out.rows(2)));
  });
}

TEST_P(OutputTest, CallsDoNotAllocate) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange2"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("rotate");
    Buffer in(context, 16, float(context.rank() + 1));
    Buffer out(context, 16, untouched), later(context, 16, untouched);
    Memory::Stats before = context.memory().stats();
    for (Buffer *buffer : {&out, &later, &out})
      ASSERT_OK(context.callInto(entry, {in.rows(4)}, {buffer->rows(4)}));
    Memory::Stats after = context.memory().stats();
    EXPECT_EQ(after.mappedBlocks, before.mappedBlocks);
    EXPECT_EQ(after.liveBlocks, before.liveBlocks);
    std::vector<float> expected(16, float(2 - context.rank()));
    EXPECT_EQ(out.read(), expected);
    EXPECT_EQ(later.read(), expected);
    // Its shape is known before the call. One that is still in its last call
    // would hear of the failure there.
    ASSERT_OK(context.boot().barrier());
    Status status = context.callInto(entry, {in.rows(4)}, {out.rows(3)});
    EXPECT_FALSE(status.isOk());
    ASSERT_OK(context.boot().barrier());
    std::string text = "output 0 of entry 'rotate': expected extent 4 in "
                       "dimension 0 of f32[4, 4], got [3, 4]";
    EXPECT_NE(status.message().find(text), std::string::npos)
        << status.message();
  });
}

TEST_P(OutputTest, OutputsAreOnTheDevice) {
  runGroup(GetParam(), 1, [](Context &context) {
    auto artifact = context.load(artifactPath("exchange1"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("rotate");
    bool isHost = context.device().device().device_type == kDLCPU;
    Buffer in(context, 16, 1), out(context, 20, untouched);
    DLTensor other = *out.rows(4);
    other.device = isHost ? DLDevice{kDLCUDA, 0} : DLDevice{kDLCPU, 0};
    Status status = context.callInto(entry, {in.rows(4)}, {&other});
    EXPECT_EQ(status.code(), MOERT_INVALID_ARGUMENT);
    EXPECT_EQ(status.message(),
              std::string("rank 0: output 0 of entry 'rotate': expected a "
                          "tensor ") +
                  (isHost ? "in host memory, got DLPack device type 2"
                          : "on device 0, got DLPack device type 1"));
    ASSERT_OK(context.reset());
    if (isHost)
      return;
    other = *out.rows(4);
    other.device.device_id += 1;
    status = context.callInto(entry, {in.rows(4)}, {&other});
    EXPECT_EQ(status.message(), "rank 0: output 0 of entry 'rotate': expected "
                                "a tensor on device 0, got one on device 1");
    ASSERT_OK(context.reset());
    // Kernels store 16 bytes at a time.
    other = *out.rows(4);
    other.byte_offset = 4;
    status = context.callInto(entry, {in.rows(4)}, {&other});
    EXPECT_EQ(status.message(),
              "rank 0: output 0 of entry 'rotate': expected memory aligned to "
              "16 bytes, got an address that is 4 past a multiple of that");
    EXPECT_EQ(out.read(), std::vector<float>(20, untouched));
  });
}

//===----------------------------------------------------------------------===//
// Symmetric results
//===----------------------------------------------------------------------===//

/// One in each of several blocks of the heap, all alive at once.
TEST_P(OutputTest, SymmetricResultsLieWhereTheCallerWantsThem) {
  for (int size = 1; size <= 2; ++size)
    runGroup(GetParam(), size, [](Context &context) {
      const char *file = context.size() == 1 ? "kept" : "kept2";
      auto artifact = context.load(artifactPath(file), "art");
      ASSERT_OK(artifact.status());
      Entry &ordinary = **(*artifact)->entry("keep");
      Entry &symmetric = **(*artifact)->entry("keep_symmetric");
      char *blocks[3];
      for (char *&block : blocks) {
        auto allocated = context.symmAlloc(64);
        ASSERT_OK(allocated.status());
        block = *allocated;
      }
      Buffer in(context, 8, 1);
      Buffer first(context, 16, untouched, blocks[0]);
      Buffer second(context, 16, untouched, blocks[1]);
      Buffer third(context, 16, untouched, blocks[2]);
      ASSERT_OK(context.callInto(ordinary, {in.vector(8)}, {first.vector(8)}));
      in.fill(2);
      ASSERT_OK(context.callInto(ordinary, {in.vector(8)}, {second.vector(8)}));
      ASSERT_OK(
          context.callInto(symmetric, {first.vector(8)}, {third.vector(8)}));
      auto filled = [](float value) {
        std::vector<float> values(16, untouched);
        std::fill(values.begin(), values.begin() + 8, value);
        return values;
      };
      EXPECT_EQ(first.read(), filled(1));
      EXPECT_EQ(second.read(), filled(2));
      EXPECT_EQ(third.read(), filled(1));
      for (char *block : blocks)
        ASSERT_OK(context.symmFree(block));
    });
}

TEST_P(OutputTest, SymmetricResultsAreAtTheSameOffsetOnAllRanks) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto artifact = context.load(artifactPath("kept2"), "art");
    ASSERT_OK(artifact.status());
    Entry &entry = **(*artifact)->entry("keep");
    auto block = context.symmAlloc(512);
    ASSERT_OK(block.status());
    size_t offset = context.heap().offsetOf(*block);
    Buffer in(context, 8, 1);
    Buffer out(context, 8, untouched, *block + 256 * context.rank());
    Status status = context.callInto(entry, {in.vector(8)}, {out.vector(8)});
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH);
    for (std::string part : {format("output 0 at offset %zu", offset),
                             format("output 0 at offset %zu", offset + 256)})
      EXPECT_NE(status.message().find(part), std::string::npos)
          << status.message();
    ASSERT_OK(context.reset());
    // One of the ranks takes the workspace instead.
    Buffer same(context, 8, untouched, *block);
    std::vector<DLManagedTensor *> made;
    status = context.rank() == 0
                 ? context.callInto(entry, {in.vector(8)}, {same.vector(8)})
                 : context.call(entry, {in.vector(8)}, made);
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    ASSERT_OK(context.reset());
    ASSERT_OK(context.callInto(entry, {in.vector(8)}, {same.vector(8)}));
    EXPECT_EQ(same.read(), std::vector<float>(8, 1));
  });
}
