//===- MoEInterfaces.td - moe dialect interfaces -----------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_MOEINTERFACES_TD
#define MOE_MLIR_DIALECT_MOE_IR_MOEINTERFACES_TD

include "mlir/IR/OpBase.td"

def MoE_CollectiveOpInterface : OpInterface<"CollectiveOpInterface"> {
  let cppNamespace = "::mlir::moe";
  let description = [{
    An op that all ranks of a grid execute together, with a tensor form
    (results) and a memref form (`outs`). The interface is what verification,
    bufferization, buffer placement and reports have in common.
  }];
  let methods = [
    InterfaceMethod<"The grid of ranks.",
      "::mlir::FlatSymbolRefAttr", "getGridAttr">,
    InterfaceMethod<"The buffers of the memref form.",
      "::mlir::OperandRange", "getOuts">,
    InterfaceMethod<"The shape of its kernel on a GPU; null when not planned.",
      "::mlir::moe::KernelAttr", "getKernelAttr">,
    InterfaceMethod<"Sets the shape of its kernel.",
      "void", "setKernelAttr", (ins "::mlir::moe::KernelAttr":$kernel)>,
    InterfaceMethod<[{
        How long its messages are, where ranks exchange such; null when not
        planned.
      }],
      "::mlir::moe::ScheduleAttr", "getScheduleAttr">,
    InterfaceMethod<"Sets how long its messages are.",
      "void", "setScheduleAttr", (ins "::mlir::moe::ScheduleAttr":$schedule)>,
    InterfaceMethod<[{
        The most rows that a rank can have for another one (coll_s8). Only valid
        once the op is verified.
      }],
      "int64_t", "getMaxPairRows", (ins "int64_t":$numRanks)>,
    InterfaceMethod<"The outputs: results, or the buffers of `outs`.",
      "::mlir::ValueRange", "getOutputValues", (ins), /*methodBody=*/[{}],
      /*defaultImplementation=*/[{
        return $_op.getOuts().empty() ? ::mlir::ValueRange($_op->getResults())
                                      : ::mlir::ValueRange($_op.getOuts());
      }]>,
    InterfaceMethod<[{
        Appends the types the outputs must have with `numRanks` ranks, as
        tensors. Only valid once the operands are verified.
      }],
      "void", "getExpectedOutputTypes",
      (ins "int64_t":$numRanks,
           "::llvm::SmallVectorImpl<::mlir::RankedTensorType> &":$types)>,
    InterfaceMethod<"The name of an output in messages and in the printed IR.",
      "::llvm::StringRef", "getOutputName", (ins "unsigned":$index)>,
    InterfaceMethod<[{
        Appends the operands of the memref form that other ranks read or write,
        which therefore have to lie in symmetric memory before lowering.
      }],
      "void", "getSymmetricOperands",
      (ins "::llvm::SmallVectorImpl<::mlir::OpOperand *> &":$operands)>
  ];
  let extraSharedClassDeclaration = [{
    /// The operands that are read: all but `outs`.
    ::mlir::OperandRange getInputs() {
      return $_op->getOperands().drop_back($_op.getOuts().size());
    }
    bool isTensorForm() { return $_op.getOuts().empty(); }
    /// Number of ranks of the grid; 0 when the symbol does not name a grid of
    /// one static dimension.
    int64_t getNumRanks() {
      return ::mlir::moe::getNumRanks($_op, $_op.getGridAttr());
    }
  }];
}

#endif // MOE_MLIR_DIALECT_MOE_IR_MOEINTERFACES_TD
