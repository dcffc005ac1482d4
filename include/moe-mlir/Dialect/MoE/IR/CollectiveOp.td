//===- CollectiveOp.td - what all moe ops have in common ---*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_COLLECTIVEOP_TD
#define MOE_MLIR_DIALECT_MOE_IR_COLLECTIVEOP_TD

include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe-mlir/Dialect/MoE/IR/MoEBase.td"
include "moe-mlir/Dialect/MoE/IR/MoEInterfaces.td"

class MoE_CollectiveOp<string mnemonic, list<Trait> traits = []>
    : MoE_Op<mnemonic, !listconcat(traits, [
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
        DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>,
        DeclareOpInterfaceMethods<SymbolUserOpInterface>,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                  ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<MoE_CollectiveOpInterface,
                                  ["getExpectedOutputTypes", "getOutputName",
                                   "getSymmetricOperands"]>])> {
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

#endif // MOE_MLIR_DIALECT_MOE_IR_COLLECTIVEOP_TD
