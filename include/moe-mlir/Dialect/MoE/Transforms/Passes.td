//===- Passes.td - moe dialect passes ---------------- -*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_TRANSFORMS_PASSES_TD
#define MOE_MLIR_DIALECT_MOE_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def MoECheckRoutesPass : Pass<"moe-check-routes"> {
  let summary = "compare moe ops with the dispatch whose rows they move";
  let description = [{
    A combine, and a dispatch with `reuse`, find rows by the `send_row` of an
    earlier dispatch, and compute where those are from their own attributes. It is
    an error when grid, `num_experts`, `layout` or the bound of `T` are not those
    of that dispatch: rows of wrong ranks would be added up. A dispatch with
    `reuse` has its `order`, `overflow`, `alignment` and number of rows as well,
    since it puts rows where they were put before (dispatch_c13).

    It is an error, too, when operands that belong together (`send_row`,
    `recv_src_idx`, `n_tokens_from_rank`, the expert ids) come from different
    dispatches.

    Values are followed through casts, branches, loops and calls of private
    functions (combine_c9). What has several origins, or is computed, is not
    compared, nor are ops on memrefs, which anybody may have written.
  }];
}

def MoEPlanPass : Pass<"moe-plan"> {
  let summary = "choose how each moe op on memrefs is carried out";
  let description = [{
    Attaches the choices that the lowering needs as attributes and explains them
    in remarks (`--remarks-filter=moe-plan`). For a combine it chooses the
    `algorithm`:

    - `pull` reads rows where they lie: the choice on the host, where a load from
      a peer costs what a local load costs, and on GPUs where little is moved.
    - `push` puts rows into slots of their tokens: the choice on GPUs among more
      than two ranks where much leaves each rank; where rows would have to be
      copied to be pulled, and are many; and with expert_major, where each rank
      puts the sum of its rows of a token, where that is much less than the rows.
      Never with `reduce = none`, which has nothing to add up.

    An op that already has an `algorithm` keeps it. A dispatch with expert_major
    gets `expand` where much less crosses when each row crosses to a rank once,
    and else is `direct`. docs/CUDA.md has the rules, and what was measured.

    With `transport=messages` it chooses the `schedule` of each op that has none:

    - `exact` on the host, whose CPU knows the counts in any case, and on GPUs
      where much is moved.
    - `padded` on GPUs where the rows that may come are few: where sending room for
      all of them costs less than a CPU that waits for the counts. Nothing can
      exceed that room, so the choice is safe for all inputs.

    docs/Coll.md has the rule. It depends on nothing but the module and the
    options, so that all ranks choose alike.

    With `target=cuda` it also chooses the shape of each op's kernel, `kernel`
    (`#moe.kernel`), unless the op has one. Each part of it can be pinned by an
    option; where an op cannot take a pinned value, a remark says so, and it gets
    the nearest that it can take. What is not pinned is chosen in
    lib/Dialect/MoE/Transforms/KernelPlan.cpp; docs/CUDA.md has the rules.

    Before:

    ```text
    moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64} : ...
    ```

    After, with `target=cuda`:

    ```text
    moe.combine %y, %rows, %src, %n outs(%out) on @ep
      {algorithm = #moe.algorithm<pull>,
       kernel = #moe.kernel<blocks = 132, threads = 512, team = 16>,
       num_experts = 8 : i64} : ...
    ```
  }];
  let options = [
    Option<"combineAlgorithm", "combine-algorithm", "std::string", "\"auto\"",
           "how combines move rows: auto, pull or push">,
    Option<"dispatchAlgorithm", "dispatch-algorithm", "std::string", "\"auto\"",
           "who makes the rows of an expert_major dispatch: auto, direct or "
           "expand">,
    Option<"transport", "transport", "std::string", "\"direct\"",
           "how ranks exchange rows: direct or messages">,
    Option<"schedule", "schedule", "std::string", "\"auto\"",
           "messages: how long they are: auto, exact or padded">,
    Option<"target", "target", "std::string", "\"host\"",
           "what to plan for: host or cuda">,
    Option<"chip", "chip", "std::string", "\"sm_90\"",
           "cuda: compute capability of the device">,
    Option<"blocks", "blocks", "int64_t", "0",
           "cuda: blocks per kernel, at most; 0 to choose">,
    Option<"threads", "threads", "int64_t", "0",
           "cuda: threads per block, a multiple of 32 up to 1024; 0 to choose">,
    Option<"transfer", "transfer", "std::string", "\"auto\"",
           "cuda: how kernels move rows: auto, stores or bulk">,
    Option<"stages", "stages", "int64_t", "0",
           "cuda: rows in flight with bulk copies, up to 32; 0 to choose">,
    Option<"team", "team", "int64_t", "0",
           "cuda: subgroups that move one token together with stores "
           "(alltoallv: pieces of a row), a power of two up to 32; 0 to choose">
  ];
  let statistics = [
    Statistic<"numPull", "num-pull", "combines that pull">,
    Statistic<"numPush", "num-push", "combines that push">,
    Statistic<"numExpand", "num-expand", "dispatches that expand">,
    Statistic<"numExact", "num-exact", "ops with messages as long as their rows">,
    Statistic<"numPadded", "num-padded", "ops with messages of fixed length">,
    Statistic<"numBulk", "num-bulk", "kernels that move rows by bulk copies">,
    Statistic<"numStores", "num-stores", "kernels that move rows by stores">
  ];
}

def MoECheckHostMemoryPass : Pass<"moe-check-host-memory"> {
  let summary = "check the use of values in memory of the host";
  let description = [{
    The `peer_rows` of a dispatch lie in memory of the host on every target. This
    pass refuses what would read or copy them as memory of a device (host_c2,
    host_c3): they are operands of `blocks` alone, or a result of an entry that is
    marked `moe.host`; and they come from a dispatch, or are an argument that is so
    marked. Inline functions first: values are not followed through calls.
  }];
}

def MoECheckOrderPass : Pass<"moe-check-order", "::mlir::ModuleOp"> {
  let summary = "check that collectives run one after the other";
  let description = [{
    All ranks have to run collectives in one order. So a collective is in a
    function, or in loops and branches that run in order (`scf.for`, `scf.while`,
    `scf.if`, ...), and so are calls of functions that run one. The iterations of
    `scf.forall`, `scf.parallel` or the body of a `linalg` op have no order.
  }];
}

def MoEPlaceHostBuffersPass : Pass<"moe-place-host-buffers"> {
  let summary = "put buffers of the host into memory of the host";
  let description = [{
    Where a device executes the rest, an allocation is memory of the device. Those
    of `peer_rows` that are no result of an entry become memory of the stack here;
    for results the runtime knows from the manifest where to allocate them. The pass
    removes the marks `moe.host`. It runs behind `moe-alloc-results`.

    Before:

    ```text
    %rows = memref.alloc() : memref<4x4xi32>
    moe.dispatch %x, %idx, %w outs(..., %rows) on @ep {keep_blocks, ...}
    moe.combine %y, ... blocks(%blocks, %rows) outs(%out) on @ep ...
    memref.dealloc %rows : memref<4x4xi32>
    ```

    After:

    ```text
    %rows = memref.alloca() : memref<4x4xi32>
    moe.dispatch %x, %idx, %w outs(..., %rows) on @ep {keep_blocks, ...}
    moe.combine %y, ... blocks(%blocks, %rows) outs(%out) on @ep ...
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def MoEPlaceSymmetricBuffersPass
    : Pass<"moe-place-symmetric-buffers"> {
  let summary = "put buffers that other ranks access into symmetric memory";
  let description = [{
    Rows can only be put into, or pulled from, symmetric memory. For each such
    buffer of a moe op on memrefs (what a dispatch or alltoallv receives into,
    what a combine sends from):

    - An allocation whose buffer does not leave the block it is made in becomes
      a `symm.alloc`: the op works in place and nothing is copied.
    - An argument of an entry that is marked `moe.symmetric` is symmetric memory
      of the caller's: the op works on it in place.
    - Any other buffer gets a symmetric one beside it, and a copy after the op
      (received rows) or before it (rows of a combine). A remark says why. Of
      received rows the valid ones are copied alone (`symm.copy_rows`), except
      those of a dispatch with `reuse`, whose number no operand tells.

    An allocation that is returned as a result marked `moe.symmetric` becomes a
    persistent `symm.alloc` with that `result`, whose memory no other buffer
    shares, or which a caller gives. It is an error when the value is no
    allocation for a moe op, or is returned twice. The pass removes the marks.

    Other users of the buffer see it through a `memref.memory_space_cast`.

    Before:

    ```text
    %recv = memref.alloc() : memref<512x64xbf16>
    moe.dispatch %x, %idx, %w outs(%recv, ...) on @ep ...
    memref.dealloc %recv : memref<512x64xbf16>
    ```

    After:

    ```text
    %0 = symm.alloc : memref<512x64xbf16, #symm.space>
    %recv = memref.memory_space_cast %0 : ... to memref<512x64xbf16>
    moe.dispatch %x, %idx, %w outs(%0, ...) on @ep ...
    symm.free %0 : memref<512x64xbf16, #symm.space>
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect",
                           "::mlir::symm::SymmDialect"];
  let statistics = [
    Statistic<"numInPlace", "num-in-place", "buffers used in place">,
    Statistic<"numCopied", "num-copied", "buffers that need a copy">
  ];
}

def MoEExpandF64CastsPass : Pass<"moe-expand-f64-casts"> {
  let summary = "expand conversions between f64 and floats of less than 32 bits";
  let description = [{
    Neither C libraries nor GPUs have all of the conversions between f64 and bf16,
    f16, f8E4M3FN and f8E5M2. This pass rewrites `arith.truncf` from f64 to those
    as two, by way of f32, and `arith.extf` from bf16 to f64 likewise. The first
    truncation is to odd, so that the result is rounded once: to nearest even.
    (`moe-expand-float8` extends 8-bit floats.)
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def MoEExpandFloat8Pass : Pass<"moe-expand-float8"> {
  let summary = "expand conversions between 8-bit and other floats to integer ops";
  let description = [{
    LLVM has no 8-bit float types, so `arith.extf` from and `arith.truncf` to
    f8E4M3FN and f8E5M2 have no lowering on a CPU. This pass rewrites those with
    integer arithmetic, by way of f32: exact extension; truncation to nearest
    even, to NaN (f8E4M3FN) or infinity (f8E5M2) when out of range. Truncations
    of f64 are for `moe-expand-f64-casts`, before it.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

#endif // MOE_MLIR_DIALECT_MOE_TRANSFORMS_PASSES_TD
