//===- CombineColumns.cpp - sums of the columns of rows -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CombineKernel.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

Value CombineKernel::zeros() {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorType(), b.getZeroAttr(element)));
}

/// Adding to -0 leaves every value as it is, and so the first row starts the
/// sum.
Value CombineKernel::emptySum() {
  TypedAttr start = isa<FloatType>(element)
                        ? TypedAttr(b.getF32FloatAttr(-0.0f))
                        : cast<TypedAttr>(b.getZeroAttr(element));
  return arith::ConstantOp::create(b, DenseElementsAttr::get(sumType(), start));
}

Value CombineKernel::addColumns(Value sum, Value columns, Value weight) {
  if (!isa<FloatType>(element))
    return b.add(sum, columns);
  if (!element.isF32())
    columns = arith::ExtFOp::create(b, sumType(), columns);
  if (weight)
    columns = arith::MulFOp::create(
        b, columns, vector::BroadcastOp::create(b, sumType(), weight));
  return arith::AddFOp::create(b, sum, columns);
}

Value CombineKernel::toColumns(Value sum) {
  if (!isa<FloatType>(element) || element.isF32())
    return sum;
  return arith::TruncFOp::create(b, vectorType(), sum);
}

void CombineKernel::storeColumns(Value token, Value column, Value columns) {
  vector::StoreOp::create(b, columns, op.getOut(), ValueRange{token, column},
                          /*nontemporal=*/false,
                          llvm::MaybeAlign(vectorLength() * elementBytes()));
}
