//===- HostArtifactTest.cpp - Compile, load and run artifacts -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeRuntime.h"
#include "moe-mlir/Target/Driver/Compiler.h"
#include "moe-runtime/ArtifactABI.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/JSON.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <cstring>
#include <dlfcn.h>
#include <limits>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::moe;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace {

/// A strided memref descriptor of up to four dimensions, as the ABI lays it
/// out.
struct Descriptor {
  Descriptor() = default;
  Descriptor(void *data, std::vector<int64_t> shape, int64_t offset = 0) {
    allocated = aligned = data;
    fields.push_back(offset);
    fields.insert(fields.end(), shape.begin(), shape.end());
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t dim = shape.size(); dim-- > 1;)
      strides[dim - 1] = strides[dim] * shape[dim];
    fields.insert(fields.end(), strides.begin(), strides.end());
    std::copy(fields.begin(), fields.end(), words);
  }

  void *allocated = nullptr, *aligned = nullptr;
  int64_t words[9] = {};
  std::vector<int64_t> fields;

  int64_t offset() const { return words[0]; }
  int64_t size(int dim) const { return words[1 + dim]; }
  template <typename T> T *data() {
    return static_cast<T *>(aligned) + offset();
  }
};

class HostArtifactTest : public ::testing::Test {
protected:
  HostArtifactTest() {
    DialectRegistry registry;
    registerCompilerDialects(registry);
    context.appendDialectRegistry(registry);
    context.disableMultithreading();
    context.printOpOnDiagnostic(false);
    workspace.resize(1 << 20);
    size_t space = workspace.size();
    void *base = workspace.data();
    runtime.workspace = std::align(256, 1 << 19, base, space);
    ::moe::test::runtime = &runtime;
  }

  ~HostArtifactTest() override {
    EXPECT_EQ(runtime.badFrees, 0);
    for (auto &[ptr, bytes] : runtime.live)
      free(ptr);
    if (library)
      dlclose(library);
  }

  /// Compiles `text`; collects diagnostics in `errors`.
  bool compile(StringRef text, CompileOptions options = {}) {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diag) {
      errors.push_back(diag.str());
      return success();
    });
    OwningOpRef<ModuleOp> module =
        parseSourceString<ModuleOp>(text, &context, "test.mlir");
    artifact.clear();
    return module && succeeded(compileModule(*module, options, artifact));
  }

  void compileAndLoad(StringRef text, CompileOptions options = {}) {
    ASSERT_TRUE(compile(text, options)) << ::testing::PrintToString(errors);
    int file = memfd_create("artifact", 0);
    ASSERT_GE(file, 0);
    ASSERT_EQ(write(file, artifact.data(), artifact.size()),
              static_cast<ssize_t>(artifact.size()));
    std::string path = "/proc/self/fd/" + std::to_string(file);
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char *error = library ? "" : dlerror();
    close(file);
    ASSERT_TRUE(library) << error;
  }

  bool call(const char *name, std::vector<Descriptor *> args) {
    auto entry = reinterpret_cast<void (*)(void **)>(
        dlsym(library, symbolOf(name).c_str()));
    if (!entry) {
      ADD_FAILURE() << "no entry " << name;
      return false;
    }
    std::vector<void *> pointers;
    // Rank-0 descriptors are shorter, never longer, than what is passed.
    for (Descriptor *arg : args)
      pointers.push_back(arg);
    return runtime.call([&] { entry(pointers.data()); });
  }

  /// The symbol of an entry, as the manifest names it; empty without one.
  std::string symbolOf(StringRef name) {
    llvm::json::Object fields = manifest();
    if (llvm::json::Array *entries = fields.getArray("entries"))
      for (llvm::json::Value &entry : *entries)
        if (entry.getAsObject()->getString("name") == name)
          return entry.getAsObject()->getString("symbol").value_or("").str();
    return {};
  }

  llvm::json::Object manifest() {
    auto text =
        static_cast<const char *>(dlsym(library, "moe_artifact_manifest"));
    llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
    if (!value) {
      ADD_FAILURE() << llvm::toString(value.takeError());
      return {};
    }
    return *value->getAsObject();
  }

  /// Whether `result` is memory that the caller now owns.
  bool isOwned(const Descriptor &result) {
    return runtime.live.count(result.allocated) != 0;
  }

  MLIRContext context;
  ::moe::test::FakeRuntime runtime;
  std::vector<std::string> errors;
  SmallVector<char, 0> artifact;
  std::vector<char> workspace;
  void *library = nullptr;
};

//===----------------------------------------------------------------------===//
// Calling convention
//===----------------------------------------------------------------------===//

TEST_F(HostArtifactTest, ResultThatIsAnArgumentIsACopy) {
  compileAndLoad(R"(
    func.func @same(%x: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
      return %x, %x : tensor<?xf32>, tensor<?xf32>
    })");
  float data[] = {1, 2, 3};
  Descriptor x(data, {3}), y, z;
  ASSERT_TRUE(call("same", {&x, &y, &z}));
  EXPECT_TRUE(isOwned(y));
  EXPECT_TRUE(isOwned(z));
  EXPECT_NE(y.allocated, z.allocated);
  EXPECT_EQ(y.size(0), 3);
  EXPECT_EQ(y.data<float>()[2], 3);
  EXPECT_EQ(runtime.live.size(), 2u);
}

TEST_F(HostArtifactTest, ResultThatIsAConstantIsACopy) {
  compileAndLoad(R"(
    func.func @three() -> tensor<3xi32> {
      %c = arith.constant dense<[7, 8, 9]> : tensor<3xi32>
      return %c : tensor<3xi32>
    })");
  Descriptor y, z;
  ASSERT_TRUE(call("three", {&y}));
  ASSERT_TRUE(call("three", {&z}));
  EXPECT_TRUE(isOwned(y) && isOwned(z));
  y.data<int32_t>()[0] = 0;
  EXPECT_EQ(z.data<int32_t>()[0], 7);
  EXPECT_EQ(z.data<int32_t>()[2], 9);
}

TEST_F(HostArtifactTest, ArgumentsAreNotWritten) {
  compileAndLoad(R"(
    func.func @set(%x: tensor<4xf32>) -> tensor<4xf32> {
      %c1 = arith.constant 1 : index
      %f = arith.constant 5.0 : f32
      %y = tensor.insert %f into %x[%c1] : tensor<4xf32>
      return %y : tensor<4xf32>
    })");
  float data[] = {1, 2, 3, 4};
  Descriptor x(data, {4}), y;
  ASSERT_TRUE(call("set", {&x, &y}));
  EXPECT_EQ(data[1], 2);
  EXPECT_EQ(y.data<float>()[1], 5);
  EXPECT_EQ(runtime.live.size(), 1u);
}

TEST_F(HostArtifactTest, OffsetOfAnArgumentIsHonoured) {
  compileAndLoad(R"(
    func.func @same(%x: tensor<2x2xi8>) -> tensor<2x2xi8> {
      return %x : tensor<2x2xi8>
    })");
  int8_t data[] = {0, 0, 0, 1, 2, 3, 4};
  Descriptor x(data, {2, 2}, /*offset=*/3), y;
  ASSERT_TRUE(call("same", {&x, &y}));
  EXPECT_THAT(std::vector<int8_t>(y.data<int8_t>(), y.data<int8_t>() + 4),
              ElementsAre(1, 2, 3, 4));
}

TEST_F(HostArtifactTest, ScalarTensorsAndNoResults) {
  compileAndLoad(R"(
    func.func @twice(%x: tensor<f64>) -> tensor<f64> {
      %v = tensor.extract %x[] : tensor<f64>
      %s = arith.addf %v, %v : f64
      %y = tensor.from_elements %s : tensor<f64>
      return %y : tensor<f64>
    }
    func.func @nothing(%x: tensor<f64>) {
      return
    })");
  double data = 1.5;
  Descriptor x(&data, {}), y;
  ASSERT_TRUE(call("twice", {&x, &y}));
  EXPECT_EQ(*y.data<double>(), 3.0);
  EXPECT_TRUE(call("nothing", {&x}));
}

TEST_F(HostArtifactTest, EmptyTensors) {
  compileAndLoad(R"(
    func.func @same(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
      return %x : tensor<?x4xf32>
    })");
  Descriptor x(nullptr, {0, 4}), y;
  ASSERT_TRUE(call("same", {&x, &y}));
  EXPECT_EQ(y.size(0), 0);
  EXPECT_TRUE(isOwned(y));
}

TEST_F(HostArtifactTest, PrivateFunctionsNamedLikeLibraryFunctions) {
  compileAndLoad(R"(
    func.func private @memcpy(%x: tensor<4096xf32>) -> tensor<4096xf32>
        attributes {no_inline} {
      %c0 = arith.constant 0 : index
      %f = arith.constant 5.0 : f32
      %y = tensor.insert %f into %x[%c0] : tensor<4096xf32>
      return %y : tensor<4096xf32>
    }
    func.func @moe_entry_f(%x: tensor<4096xf32>) -> tensor<4096xf32> {
      %y = call @memcpy(%x) : (tensor<4096xf32>) -> tensor<4096xf32>
      return %y : tensor<4096xf32>
    })");
  std::vector<float> data(4096, 1.0f);
  Descriptor x(data.data(), {4096}), y;
  ASSERT_TRUE(call("moe_entry_f", {&x, &y}));
  EXPECT_EQ(y.data<float>()[0], 5);
  EXPECT_EQ(y.data<float>()[4095], 1);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

TEST_F(HostArtifactTest, TemporariesAreFreed) {
  compileAndLoad(R"(
    #id = affine_map<(i) -> (i)>
    func.func private @square(%x: tensor<?xf32>, %n: index) -> tensor<?xf32> {
      %e = tensor.empty(%n) : tensor<?xf32>
      %y = linalg.generic {indexing_maps = [#id, #id],
                           iterator_types = ["parallel"]}
          ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) {
      ^bb0(%a: f32, %b: f32):
        %p = arith.mulf %a, %a : f32
        linalg.yield %p : f32
      } -> tensor<?xf32>
      return %y : tensor<?xf32>
    }
    func.func @f(%x: tensor<?xf32>) -> tensor<1xf32> {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c3 = arith.constant 3 : index
      %n = tensor.dim %x, %c0 : tensor<?xf32>
      %last = scf.for %i = %c0 to %c3 step %c1 iter_args(%v = %x)
          -> (tensor<?xf32>) {
        %s = func.call @square(%v, %n) : (tensor<?xf32>, index) -> tensor<?xf32>
        scf.yield %s : tensor<?xf32>
      }
      %r = tensor.extract %last[%c0] : tensor<?xf32>
      %y = tensor.from_elements %r : tensor<1xf32>
      return %y : tensor<1xf32>
    })");
  float data[] = {2, 3};
  Descriptor x(data, {2}), y;
  ASSERT_TRUE(call("f", {&x, &y}));
  EXPECT_EQ(*y.data<float>(), 256);
  EXPECT_EQ(runtime.live.size(), 1u) << "the result and nothing else";
  EXPECT_GE(runtime.smallestAlignment, 64);
  EXPECT_EQ(data[0], 2);
}

TEST_F(HostArtifactTest, StridedCopies) {
  compileAndLoad(R"(
    func.func @column(%x: tensor<3x4xi32>, %y: tensor<?x2xi32>)
        -> (tensor<3x2xi32>, tensor<3x4xi32>) {
      %c0 = arith.constant 0 : index
      %n = tensor.dim %y, %c0 : tensor<?x2xi32>
      %a = tensor.extract_slice %x[0, 1] [3, 2] [1, 2]
          : tensor<3x4xi32> to tensor<3x2xi32>
      %b = tensor.insert_slice %y into %x[1, 2] [%n, 2] [1, 1]
          : tensor<?x2xi32> into tensor<3x4xi32>
      return %a, %b : tensor<3x2xi32>, tensor<3x4xi32>
    })");
  int32_t data[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  int32_t rows[] = {20, 21, 22, 23};
  Descriptor x(data, {3, 4}), y(rows, {2, 2}), a, b;
  ASSERT_TRUE(call("column", {&x, &y, &a, &b}));
  EXPECT_THAT(std::vector<int32_t>(a.data<int32_t>(), a.data<int32_t>() + 6),
              ElementsAre(1, 3, 5, 7, 9, 11));
  EXPECT_THAT(std::vector<int32_t>(b.data<int32_t>(), b.data<int32_t>() + 12),
              ElementsAre(0, 1, 2, 3, 4, 5, 20, 21, 8, 9, 22, 23));
  EXPECT_EQ(runtime.live.size(), 2u);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

TEST_F(HostArtifactTest, ProductAndSumAreRoundedOneByOne) {
  compileAndLoad(R"(
    func.func @f(%a: tensor<f32>, %b: tensor<f32>, %c: tensor<f32>)
        -> tensor<f32> {
      %x = tensor.extract %a[] : tensor<f32>
      %y = tensor.extract %b[] : tensor<f32>
      %z = tensor.extract %c[] : tensor<f32>
      %p = arith.mulf %x, %y : f32
      %s = arith.addf %p, %z : f32
      %r = tensor.from_elements %s : tensor<f32>
      return %r : tensor<f32>
    })");
  // (1 + e)^2 - (1 + 2e) is e^2 when fused and 0 when rounded in between.
  float e = std::numeric_limits<float>::epsilon();
  float xs = 1 + e, zs = -(1 + 2 * e);
  Descriptor x(&xs, {}), z(&zs, {}), r;
  ASSERT_TRUE(call("f", {&x, &x, &z, &r}));
  EXPECT_EQ(*r.data<float>(), 0.0f);
}

TEST_F(HostArtifactTest, SmallFloats) {
  compileAndLoad(R"(
    #id = affine_map<(i) -> (i)>
    func.func @add(%x: tensor<2xbf16>, %h: tensor<2xf16>)
        -> (tensor<2xbf16>, tensor<2xf16>) {
      %y = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]}
          outs(%x : tensor<2xbf16>) {
      ^bb0(%a: bf16):
        %s = arith.addf %a, %a : bf16
        linalg.yield %s : bf16
      } -> tensor<2xbf16>
      %g = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]}
          outs(%h : tensor<2xf16>) {
      ^bb0(%a: f16):
        %s = math.sqrt %a : f16
        linalg.yield %s : f16
      } -> tensor<2xf16>
      return %y, %g : tensor<2xbf16>, tensor<2xf16>
    })");
  uint16_t bf16[] = {0x3f80, 0x7f7f}; // 1, the largest
  uint16_t f16[] = {0x4400, 0x3c00};  // 4, 1
  Descriptor x(bf16, {2}), h(f16, {2}), y, g;
  ASSERT_TRUE(call("add", {&x, &h, &y, &g}));
  EXPECT_EQ(y.data<uint16_t>()[0], 0x4000);
  EXPECT_EQ(y.data<uint16_t>()[1], 0x7f80) << "overflows to infinity";
  EXPECT_EQ(g.data<uint16_t>()[0], 0x4000);
  EXPECT_EQ(g.data<uint16_t>()[1], 0x3c00);
}

TEST_F(HostArtifactTest, EveryOptimizationLevelGivesTheSameBits) {
  const char *text = R"(
    #id = affine_map<(i) -> (i)>
    #zero = affine_map<(i) -> ()>
    func.func @sum(%x: tensor<100xf32>) -> tensor<f32> {
      %z = arith.constant dense<0.0> : tensor<f32>
      %y = linalg.generic {indexing_maps = [#id, #zero],
                           iterator_types = ["reduction"]}
          ins(%x : tensor<100xf32>) outs(%z : tensor<f32>) {
      ^bb0(%a: f32, %acc: f32):
        %e = math.exp %a : f32
        %s = arith.addf %acc, %e : f32
        linalg.yield %s : f32
      } -> tensor<f32>
      return %y : tensor<f32>
    })";
  std::vector<float> data(100);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = 0.37f * static_cast<float>(i % 17) - 2;
  std::vector<uint32_t> bits;
  for (unsigned level : {0u, 1u, 2u, 3u})
    for (StringRef cpu : {"x86-64", "x86-64-v3"}) {
      if (cpu > getNativeCpuLevel())
        continue;
      CompileOptions options;
      options.host = {cpu.str(), level};
      compileAndLoad(text, options);
      Descriptor x(data.data(), {100}), y;
      ASSERT_TRUE(call("sum", {&x, &y}));
      bits.push_back(*y.data<uint32_t>());
      dlclose(library);
      library = nullptr;
    }
  EXPECT_THAT(bits, ::testing::Each(bits.front()));
}

//===----------------------------------------------------------------------===//
// Communication
//===----------------------------------------------------------------------===//

TEST_F(HostArtifactTest, DispatchAndCombineOnOneRank) {
  compileAndLoad(R"(
    shard.grid @ep(shape = 1)
    func.func @f(%x: tensor<?x8xbf16>, %idx: tensor<?x1xi32>,
                 %w: tensor<?x1xf32>) -> tensor<?x8xbf16> {
      %rx, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
          {num_experts = 4 : i64, max_tokens = 16 : i64}
          : (tensor<?x8xbf16>, tensor<?x1xi32>, tensor<?x1xf32>)
         -> (tensor<16x8xbf16>, tensor<16x1xi32>, tensor<16x1xf32>,
             tensor<16xi32>, tensor<1xi32>, tensor<1xi32>, tensor<?x1xi32>)
      %out = moe.combine %rx, %row, %src, %from on @ep
          {num_experts = 4 : i64, max_tokens = 16 : i64}
          : (tensor<16x8xbf16>, tensor<?x1xi32>, tensor<16xi32>, tensor<1xi32>)
         -> tensor<?x8xbf16>
      return %out : tensor<?x8xbf16>
    })");
  uint16_t data[24];
  for (int i = 0; i < 24; ++i)
    data[i] = 0x7f81 + i; // NaN payloads survive
  int32_t idx[] = {2, -1, 3};
  float weights[] = {1, 1, 1};
  Descriptor x(data, {3, 8}), i(idx, {3, 1}), w(weights, {3, 1}), y;
  for (int run = 0; run < 3; ++run) {
    ASSERT_TRUE(call("f", {&x, &i, &w, &y}));
    EXPECT_EQ(0, std::memcmp(y.data<uint16_t>(), data, 16));
    EXPECT_EQ(y.data<uint16_t>()[8], 0);
    EXPECT_EQ(0, std::memcmp(y.data<uint16_t>() + 16, data + 16, 16));
    EXPECT_EQ(runtime.live.size(), 1u + run);
  }
  EXPECT_EQ(runtime.events.front(), "moe.dispatch at test.mlir:5:47 site 0");

  idx[1] = 4;
  EXPECT_FALSE(call("f", {&x, &i, &w, &y}));
  ASSERT_EQ(runtime.failures.size(), 1u);
  EXPECT_EQ(runtime.failures[0].code, MOERT_INVALID_EXPERT);
  EXPECT_EQ(runtime.failures[0].most, 3);
  EXPECT_EQ(runtime.failures[0].seen, 4);
}

TEST_F(HostArtifactTest, ManifestDescribesTheArtifact) {
  compileAndLoad(R"(
    shard.grid @ep(shape = 1)
    func.func private @helper(%x: tensor<4xf32>) -> tensor<4xf32> {
      return %x : tensor<4xf32>
    }
    func.func @f(%x: tensor<?x8xf8E4M3FN>, %n: tensor<1xi32>)
        -> (tensor<16x8xf8E4M3FN>, tensor<1xi32>) {
      %r, %c = moe.alltoallv %x, %n on @ep
          : (tensor<?x8xf8E4M3FN>, tensor<1xi32>)
         -> (tensor<16x8xf8E4M3FN>, tensor<1xi32>)
      return %r, %c : tensor<16x8xf8E4M3FN>, tensor<1xi32>
    })");
  llvm::json::Object json = manifest();
  EXPECT_EQ(json.getInteger("abi_version"), MOERT_ARTIFACT_ABI_VERSION);
  EXPECT_EQ(json.getString("target"), "host");
  EXPECT_EQ(json.getString("cpu"), "x86-64-v3");
  EXPECT_EQ(json.getInteger("ranks"), 1);
  EXPECT_GE(json.getInteger("symm_bytes"), 16 * 8);
  llvm::json::Array *entries = json.getArray("entries");
  ASSERT_EQ(entries->size(), 1u) << "private functions are no entries";
  llvm::json::Object &entry = *(*entries)[0].getAsObject();
  EXPECT_EQ(entry.getString("symbol"), "moe_entry_f");
  llvm::json::Object &arg = *(*entry.getArray("args"))[0].getAsObject();
  EXPECT_EQ(arg.getString("dtype"), "f8E4M3FN");
  EXPECT_EQ(*arg.getArray("shape"), (llvm::json::Array{-1, 8}));
  llvm::json::Object &site = *(*json.getArray("sites"))[0].getAsObject();
  EXPECT_EQ(site.getString("op"), "moe.alltoallv");
  EXPECT_EQ(site.getString("location"), "test.mlir:8:16");
}

TEST_F(HostArtifactTest, HashDependsOnTheModuleAndNotOnItsLocations) {
  auto hash = [&](std::string text) {
    compileAndLoad(text);
    std::string value = manifest().getString("hash")->str();
    dlclose(library);
    library = nullptr;
    return value;
  };
  std::string text = "func.func @f() -> tensor<i32> {\n"
                     "  %c = arith.constant dense<1> : tensor<i32>\n"
                     "  return %c : tensor<i32>\n}\n";
  std::string other = text;
  other.replace(other.find("<1>"), 3, "<2>");
  EXPECT_EQ(hash(text), hash("\n\n  " + text));
  EXPECT_NE(hash(text), hash(other));
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

TEST_F(HostArtifactTest, UnknownSymbolIsAnError) {
  EXPECT_FALSE(compile(R"(
    func.func private @mystery(tensor<4xf32>) -> tensor<4xf32>
    func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = call @mystery(%x) : (tensor<4xf32>) -> tensor<4xf32>
      return %y : tensor<4xf32>
    })"));
  EXPECT_THAT(errors,
              ElementsAre("'func.call' op expects 'mystery' to have a body"));
  EXPECT_THAT(artifact, IsEmpty());
}

} // namespace
