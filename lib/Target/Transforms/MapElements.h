//===- MapElements.h - scalar code for ops on vectors -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_TARGET_TRANSFORMS_MAPELEMENTS_H
#define MOE_MLIR_LIB_TARGET_TRANSFORMS_MAPELEMENTS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace mlir::moe {

/// Whether `type` is one value, or a vector of a size that is known.
inline bool isScalarOrVector(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? !vector.isScalable() : !isa<ShapedType>(type);
}

/// The result, of type `type`, of applying `map` to `operands`: to themselves,
/// or where they are vectors to their elements one by one.
Value mapElements(OpBuilder &builder, Location loc, ValueRange operands,
                  Type type, llvm::function_ref<Value(ValueRange)> map);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_TARGET_TRANSFORMS_MAPELEMENTS_H
