//===- HostMemoryTest.cpp - memory of artifacts ---------------------------===//
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
