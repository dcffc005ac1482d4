//===- HostArithmeticTest.cpp - arithmetic of artifacts -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostArtifactTest.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

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
