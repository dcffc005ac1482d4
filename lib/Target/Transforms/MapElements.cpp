//===- MapElements.cpp - scalar code for ops on vectors -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MapElements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

Value moe::mapElements(OpBuilder &builder, Location loc, ValueRange operands,
                       Type type, llvm::function_ref<Value(ValueRange)> map) {
  auto vector = dyn_cast<VectorType>(type);
  if (!vector)
    return map(operands);
  Value result =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(vector));
  SmallVector<int64_t> strides = computeStrides(vector.getShape());
  for (int64_t i = 0; i < vector.getNumElements(); ++i) {
    SmallVector<int64_t> position = delinearize(i, strides);
    SmallVector<Value> elements;
    for (Value operand : operands)
      elements.push_back(
          vector::ExtractOp::create(builder, loc, operand, position));
    result =
        vector::InsertOp::create(builder, loc, map(elements), result, position);
  }
  return result;
}
