//===- Passes.td - symm dialect passes --------------- -*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_SYMM_TRANSFORMS_PASSES_TD
#define MOE_MLIR_DIALECT_SYMM_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SymmAssignOffsetsPass : Pass<"symm-assign-offsets", "::mlir::ModuleOp"> {
  let summary = "lay out all symmetric buffers of a module in one workspace";
  let description = [{
    Gives every `symm.alloc` its `offset` and the module the size of the
    workspace as `symm.workspace_bytes`. Persistent buffers come first and never
    share memory. Others share it when their lifetimes, from `symm.alloc` to
    `symm.free`, do not overlap. Those that are not freed in the block that
    allocates them live for ever.

    Buffers of a function that another one calls are alive during the calls.
    Functions that do not call each other run one after the other, unless one of
    them, or one that calls it, has the attribute `symm.own_workspace`: then it
    may run at the same time as others.

    First fit by decreasing size, so the result depends on the module alone and
    is the same on all ranks.

    Before:

    ```mlir
    module {
      func.func @f() {
        %a = symm.alloc : memref<100xi32, #symm.space>
        symm.free %a : memref<100xi32, #symm.space>
        %b = symm.alloc : memref<50xi32, #symm.space>
        symm.free %b : memref<50xi32, #symm.space>
        return
      }
    }
    ```

    After: both at offset 0, `symm.workspace_bytes = 512 : i64`.
  }];
  let dependentDialects = ["::mlir::symm::SymmDialect"];
  let statistics = [
    Statistic<"numBuffers", "num-buffers", "symmetric buffers">,
    Statistic<"workspaceBytes", "workspace-bytes", "bytes of the workspace">
  ];
}

def SymmExpandRowCopiesPass : Pass<"symm-expand-row-copies"> {
  let summary = "turn symm.copy_rows into loops or kernels";
  let description = [{
    With `target=host` a copy becomes loops that copy row by row. With
    `target=cuda` it becomes one `gpu.launch`, in which all threads share the
    elements of all groups: each moves 16 bytes at a time where the rows are
    multiples of that, and the next smaller power of two that divides them
    otherwise.

    Before:

    ```mlir
    func.func @f(%from: memref<8x64xbf16>, %to: memref<8x64xbf16>,
                 %counts: memref<2xi32>) {
      symm.copy_rows %from to %to counts %counts every 4
        : memref<8x64xbf16> to memref<8x64xbf16> counts memref<2xi32>
      return
    }
    ```

    After, on a host, in essence:

    ```text
    scf.for %g = 0 to 2 {
      %begin = arith.muli %g, 4
      %end = minimum of %begin + counts[%g] and 8
      scf.for %row = %begin to %end {
        memref.copy row %row of %from to row %row of %to
      }
    }
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"host\"",
           "what makes the copies: host or cuda">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::gpu::GPUDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
  let statistics = [
    Statistic<"numExpanded", "num-expanded", "copies expanded">
  ];
}

#endif // MOE_MLIR_DIALECT_SYMM_TRANSFORMS_PASSES_TD
