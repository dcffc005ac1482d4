//===- MoEOps.td - moe dialect operations ------------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_MOEOPS_TD
#define MOE_MLIR_DIALECT_MOE_IR_MOEOPS_TD

// Documents show the ops in this order.
include "moe-mlir/Dialect/MoE/IR/DispatchOp.td"
include "moe-mlir/Dialect/MoE/IR/CombineOp.td"
include "moe-mlir/Dialect/MoE/IR/AllToAllvOp.td"

#endif // MOE_MLIR_DIALECT_MOE_IR_MOEOPS_TD
