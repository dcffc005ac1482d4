//===- HostCallsTest.cpp - what calls of artifacts get and give -----------===//
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
