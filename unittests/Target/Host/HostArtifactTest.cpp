//===- HostArtifactTest.cpp - artifacts as a whole ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostArtifactTest.h"

using namespace mlir;
using namespace mlir::moe;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

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
