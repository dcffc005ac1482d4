//===- Passes.td - conversion passes ----------------- -*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_PASSES_TD
#define MOE_MLIR_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// MoEToSymm
//===----------------------------------------------------------------------===//

def ConvertMoEToSymmPass : Pass<"convert-moe-to-symm", "::mlir::ModuleOp"> {
  let summary = "lower moe ops on memrefs to one-sided protocols";
  let description = [{
    Turns each moe op into the phases of its exchange, written with `symm`,
    `scf`, `memref` and `arith`. Buffers that other ranks access have to be
    symmetric already (`moe-place-symmetric-buffers`).

    A dispatch becomes:

    - *route*: check expert ids, merge repeated experts;
    - *count*: number the rows for each destination (rank, or expert);
    - *exchange*: put the counts to all ranks, wait for theirs (not for slab);
    - *place*: from all counts, the first row of each destination;
    - *put*: copy each row to its final place, peers visited in an order rotated
      by rank;
    - *complete*: signal all ranks, wait for all ranks.

    A combine becomes *ready* (rows may be read), *reduce* and *release* when it
    pulls; *ready*, *put*, *complete* and *reduce* when it pushes. An alltoallv
    becomes *exchange*, *place*, *put* and *complete*.

    Between the first wait of an op and its end, and at no other time, a rank
    accesses buffers of other ranks. So buffers can share memory when their
    lifetimes on one rank do not overlap.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::symm::SymmDialect"];
}

//===----------------------------------------------------------------------===//
// SymmToLLVM
//===----------------------------------------------------------------------===//

def ConvertSymmToLLVMPass : Pass<"convert-symm-to-llvm", "::mlir::ModuleOp"> {
  let summary = "lower symm ops to loads, stores and runtime calls on a CPU";
  let description = [{
    Symmetric buffers become pointers into the workspace the runtime hands out
    (`moert_symm_base`), peers constant strides away from it
    (`moert_symm_stride`). A put is a memory copy, a signal a release store, a
    wait a call of `moert_wait`, a check a branch to `moert_fail`. The memory
    space `#symm.space` disappears from all types.

    Needs the offsets of `symm-assign-offsets`. Runs while loops are still
    structured (`scf`), before the memref dialect is lowered.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

#endif // MOE_MLIR_CONVERSION_PASSES_TD
