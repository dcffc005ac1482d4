//===- RuntimeCalls.h - Calls of runtime functions --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_SYMMTOLLVM_RUNTIMECALLS_H
#define MOE_LIB_CONVERSION_SYMMTOLLVM_RUNTIMECALLS_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {

/// The functions of the artifact ABI that lowered symm and coll
/// ops call.
enum class RuntimeFunction {
  Rank,
  SymmBase,
  SymmStride,
  SymmResult,
  AllocResult,
  CollectiveBegin,
  Phase,
  CollectiveEnd,
  Wait,
  Fail,
  AllGather,
  AllToAll,
  ExchangeBegin,
  ExchangeRows,
  ExchangeEnd,
  Read,
  TableEnd,
  AssertionFailed
};

/// Reports an error when `module` has something else under the name of a
/// runtime function.
LogicalResult checkRuntimeNames(ModuleOp module);

/// Calls `function`, which is declared in the module around the insertion point
/// first when it is not yet. Returns the call's result, or null for a function
/// without one. Fails when the module has something else of that name.
FailureOr<Value> callRuntime(OpBuilder &builder, Location loc,
                             RuntimeFunction function, ValueRange args = {});

/// Address of a constant, zero-terminated copy of `text`. Equal texts share it.
FailureOr<Value> createStringConstant(OpBuilder &builder, Location loc,
                                      StringRef text);

/// Address of a constant with these numbers. Equal tables share it.
FailureOr<Value> createTableConstant(OpBuilder &builder, Location loc,
                                     ArrayRef<int32_t> numbers);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_SYMMTOLLVM_RUNTIMECALLS_H
