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
    - *complete*: signal all ranks, wait for all ranks;
    - *pad*, with `padding = zero`: fill the rows of this rank that no token was
      sent to, before the wait of *complete* where counts tell which those are,
      and behind it otherwise (reuse; slab on the host).

    A combine becomes *ready* (rows may be read), *reduce* and *release* when it
    pulls; *ready*, *put*, *complete* and *reduce* when it pushes. An alltoallv
    becomes *exchange*, *place*, *put* and *complete*.

    With `target=host` the phases are the work of one thread. With `target=cuda`
    each op becomes one kernel whose blocks all run at the same time; its
    protocol is the same, its work is spread over blocks, subgroups and lanes,
    as the op's `kernel` says (`moe-plan`; `#moe.kernel<>` when there is none). A
    combine that pushes adds up rows as they come there: it has no *complete*,
    and a *release* at its end.

    Ops that are equal but for the buffers they work on (same attributes, same
    types) share one lowering: a private function that each of them calls, marked
    `symm.outlined`. So they share one kernel, and one set of flags, counters and
    tables of counts, as the runs of an op in a loop do. Kernels get the number of
    the op (`symm.site`), which their error records name, and the flags of its
    first signal (`symm.handshake`) as arguments. Ops of a function with
    `symm.own_workspace` share with those of the same function only.

    Between the first wait of an op and its end, and at no other time, a rank
    accesses buffers of other ranks. So buffers can share memory when their
    lifetimes on one rank do not overlap.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::coll::CollDialect",
    "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::symm::SymmDialect",
    "::mlir::vector::VectorDialect"];
  let options = [
    Option<"target", "target", "std::string", "\"host\"",
           "schedule of the protocol: host (one thread) or cuda (one "
           "persistent kernel per op)">,
    Option<"outline", "outline", "bool", "true",
           "lower equal ops once, as a function that they call">
  ];
}

//===----------------------------------------------------------------------===//
// MoEToColl
//===----------------------------------------------------------------------===//

def ConvertMoEToCollPass : Pass<"convert-moe-to-coll", "::mlir::ModuleOp"> {
  let summary = "lower moe ops on memrefs to protocols of messages";
  let description = [{
    Turns each moe op into the phases of its exchange, for ranks that exchange
    messages: written with `coll`, `scf`, `memref` and `arith`, and with those ops
    of `symm` that say where a collective begins, which phase it is in and what is
    checked. No buffer has to be symmetric. A module that addresses the memory of
    other ranks by itself (`symm.alloc`, `symm.peer`, `symm.put`, ...) is refused.
    Results are the same bits as those of `convert-moe-to-symm` (coll_s6).

    The rows of a sender lie on their receiver in blocks: one for each pair of
    ranks, with expert_major one for each expert of the receiver. docs/Coll.md shows
    the messages. A dispatch becomes:

    - *route*, *count* and *place*: as in `convert-moe-to-symm`; the counts travel
      by `coll.all_gather` (*exchange*);
    - *pack*: rows, and what goes with them, in the order of the blocks;
    - *move*: one `coll.exchange`. Blocks are received where they belong;
    - *unpack*, with expert_major: where they do not, they are copied there;
    - *pad*, with `padding = zero`.

    With `reuse`, senders find the blocks in `send_row` and tell them to the
    receivers by `coll.all_to_all` (*exchange*).

    A combine sends the blocks back: *ready* (each rank finds its blocks in
    `send_row`), *exchange* (and tells the holders), *pack* (with expert_major only;
    otherwise rows are sent from where they are), *move* and *reduce*. It makes no
    difference whether it is to pull or to push, nor whether its release is
    deferred. An alltoallv becomes *count*, *exchange*, *place* and *move*.

    Equal ops share one lowering, as in `convert-moe-to-symm`.

    An op with `schedule = #moe.schedule<padded>` has messages with room for the
    same number of rows, `pair-capacity`, so that nothing about them depends on the
    counts: their tables are constants (`coll.table`), and a device can send them
    without its CPU, and replay them. Rows then always go through boxes with a place
    for each rank: every op has *pack* and *unpack*. More rows for a peer than fit
    are an error that every rank reports (coll_s8). The option `schedule` is for ops
    that do not say.

    With `target=cuda` the steps are kernels of the shape that the op's `kernel`
    says, none of which waits for another rank, and the exchanges between them work
    on device memory. Blocks are placed by kernels as well; host code reads the
    tables of an exact exchange (`coll.read`) and nothing else. A dispatch has two
    or three kernels (*pack*, which also counts; *place*; *unpack*), a combine three
    or four, with `padded` one more.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::coll::CollDialect",
    "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::symm::SymmDialect",
    "::mlir::vector::VectorDialect"];
  let options = [
    Option<"target", "target", "std::string", "\"host\"",
           "who executes the protocol: host (one thread) or cuda (kernels)">,
    Option<"schedule", "schedule", "std::string", "\"exact\"",
           "length of messages, for ops without a schedule of their own: exact "
           "(that of their rows) or padded (one that is known when they are "
           "compiled)">,
    Option<"pairCapacity", "pair-capacity", "int64_t", "0",
           "with schedule=padded: rows from a rank to another one, at most; 0 "
           "for as many as there can be">,
    Option<"outline", "outline", "bool", "true",
           "lower equal ops once, as a function that they call">
  ];
}

//===----------------------------------------------------------------------===//
// CollToLLVM
//===----------------------------------------------------------------------===//

def ConvertCollToLLVMPass : Pass<"convert-coll-to-llvm", "::mlir::ModuleOp"> {
  let summary = "lower coll ops to runtime calls";
  let description = [{
    `coll.all_gather` becomes a call of `moert_all_gather`, `coll.all_to_all` one of
    `moert_all_to_all`. A `coll.exchange` becomes `moert_exchange_begin`,
    `moert_exchange_rows` for each `coll.rows`, and `moert_exchange_end`. The
    runtime chooses the transport. A `coll.table` becomes a constant. With
    `target=cuda`, a `coll.read` becomes a call of `moert_read`, to memory of the
    function around it.

    Runs while loops are still structured (`scf`), before the memref dialect is
    lowered.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let options = [
    Option<"target", "target", "std::string", "\"host\"",
           "where buffers are: host, or cuda (device memory)">
  ];
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
    space `#symm.space` disappears from all types. A `cf.assert` becomes a branch
    to `moert_assertion_failed`, which ends the entry.

    Needs the offsets of `symm-assign-offsets`. Runs while loops are still
    structured (`scf`), before the memref dialect is lowered.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

//===----------------------------------------------------------------------===//
// SymmToNVVM
//===----------------------------------------------------------------------===//

def ConvertSymmToNVVMPass : Pass<"convert-symm-to-nvvm", "::mlir::ModuleOp"> {
  let summary = "lower symm ops in GPU kernels to stores, loads and PTX";
  let description = [{
    Lowers the symm ops inside `gpu.func`; those of host code stay for
    `convert-symm-to-llvm`, which runs afterwards. Those that access memory
    (`put`, `next_epoch`, `signal`, `wait`, `barrier`) are errors there: symmetric
    memory is a GPU's. A kernel with symm ops gets
    four more parameters: the rank of this process, the bytes between the
    workspaces of two ranks, the bound of waits in nanoseconds, and the address
    of the error record (`moert_device_record`). Launches pass them.

    Peers are constant strides away. A signal is a release store of system
    scope, a wait a loop over an acquire load that gives up when the time is up
    or an error is recorded, a check a call that records the first error. A put
    to several ranks reads the row once, with loads and stores of 16 bytes when
    the row's size allows. Nothing traps; a kernel always ends.

    Phases and checks are named in records by number; the module attribute
    `symm.device_strings` lists their texts. A `cf.assert` is recorded as well,
    with a site of its own after those of collectives, and ends the thread: what
    follows may rely on it. Where a kernel of the module has one, threads of
    kernels that exchange nothing end at once when there is an error already.

    Runs after `gpu-kernel-outlining`, while loops are still structured (`scf`).
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::symm::SymmDialect",
    "::mlir::vector::VectorDialect"];
}

//===----------------------------------------------------------------------===//
// KernelsToFibers
//===----------------------------------------------------------------------===//

def MoEKernelsToFibersPass : Pass<"moe-kernels-to-fibers", "::mlir::ModuleOp"> {
  let summary = "turn kernels into functions that fibers on a CPU execute";
  let description = [{
    For tests without a GPU. Each `gpu.launch` becomes a function that does what
    one thread does, and a call of `moe_fiber_launch`, which runs it once per
    thread of the grid, each on a fiber of its own. Where threads meet, exchange
    values, wait, or copy in bulk, the function calls the library of
    `test/Support/Fibers`, which chooses who goes on. The rest of the kernel,
    and host code, is left as it is and lowered for CPUs.

    Runs after `symm-assign-offsets`, while loops are still structured (`scf`).
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
}

#endif // MOE_MLIR_CONVERSION_PASSES_TD
