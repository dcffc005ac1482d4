//===- ValueOrigins.h - Where the contents of tensors come from -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_VALUEORIGINS_H
#define MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_VALUEORIGINS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::moe {

/// Follows values back through casts, branches, loops and calls of private
/// functions. Does not see later changes of the module.
class ValueOrigins {
public:
  explicit ValueOrigins(Operation *root);

  /// The only value that `value` may be; null when there may be several.
  Value getOrigin(Value value);

private:
  void appendSources(Value value, SmallVectorImpl<Value> &sources);
  void appendSourcesOfResult(OpResult result, SmallVectorImpl<Value> &sources);
  void appendSourcesOfArgument(BlockArgument argument,
                               SmallVectorImpl<Value> &sources);

  /// The calls of functions that nobody outside of the module calls.
  llvm::DenseMap<Operation *, SmallVector<CallOpInterface>> calls;
  llvm::DenseMap<Value, Value> known;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_VALUEORIGINS_H
