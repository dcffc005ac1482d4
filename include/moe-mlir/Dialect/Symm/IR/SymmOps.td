//===- SymmOps.td - symm dialect operations ----------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_SYMM_IR_SYMMOPS_TD
#define MOE_MLIR_DIALECT_SYMM_IR_SYMMOPS_TD

include "mlir/IR/OpAsmInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ViewLikeInterface.td"
include "moe-mlir/Dialect/Symm/IR/SymmBase.td"

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

def Symm_AllocOp : Symm_Op<"alloc", [
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "names a symmetric buffer";
  let description = [{
    Gives this rank's copy of a buffer that every rank of the group has. The op
    allocates nothing when it runs: all buffers of a module lie in one workspace
    that the runtime allocates once, and `symm-assign-offsets` gives each its
    `offset` in it (bytes). Running the op again gives the same memory.

    The memory is the buffer's until `symm.free`; afterwards another buffer may
    use it. Contents are undefined at first. A `persistent` buffer is zero
    before the first run, shares its memory with no other buffer and keeps its
    contents from run to run: this is what flags and epochs need. It is never
    freed.

    With `result N` the buffer is result N of the entry. A caller that gives
    memory for its results gives symmetric memory for this one, and then the
    buffer is that, wherever it lies; otherwise it is at `offset`.

    Example:

    ```mlir
    %rows = symm.alloc : memref<512x64xbf16, #symm.space>
    %flags = symm.alloc persistent : memref<4xi64, #symm.space>
    %recv = symm.alloc persistent result 0 : memref<512x64xbf16, #symm.space>
    symm.free %rows : memref<512x64xbf16, #symm.space>
    ```

    **Constraints:**
    - The type is statically shaped, with identity layout, in `#symm.space`.
    - `offset`, when present, is a non-negative multiple of 128.
    - A buffer with `result` is `persistent`.
  }];
  let arguments = (ins
    UnitAttr:$persistent,
    OptionalAttr<ConfinedAttr<I64Attr, [IntNonNegative]>>:$result_index,
    OptionalAttr<ConfinedAttr<I64Attr, [IntNonNegative]>>:$offset);
  let results = (outs Symm_MemRef:$buffer);
  let assemblyFormat = [{
    (`persistent` $persistent^)? (`result` $result_index^)? (`at` $offset^)?
    attr-dict `:` type($buffer)
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Type":$type, "bool":$persistent,
                   "::mlir::IntegerAttr":$offset), [{
      build($_builder, $_state, type, persistent,
            /*result_index=*/::mlir::IntegerAttr(), offset);
    }]>];
  let hasVerifier = 1;
}

def Symm_FreeOp : Symm_Op<"free"> {
  let summary = "ends the lifetime of a symmetric buffer";
  let description = [{
    From here on the memory of `buffer` may hold another buffer. All ranks have
    to be done with it. When a collective op of this project returns, no rank
    accesses its buffers any more; after a combine with `defer_release` that is
    so when the next collective op returns.

    Example:

    ```mlir
    %rows = symm.alloc : memref<512x64xbf16, #symm.space>
    symm.free %rows : memref<512x64xbf16, #symm.space>
    ```

    **Constraints:**
    - `buffer` is the result of a `symm.alloc` that is not `persistent`.
  }];
  let arguments = (ins Arg<Symm_MemRef, "", [MemFree]>:$buffer);
  let assemblyFormat = "$buffer attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Symm_AllocResultOp : Symm_Op<"alloc_result"> {
  let summary = "memory for a result of the entry";
  let description = [{
    Gives the memory that the entry returns as result `index`: that of the
    caller, when it has given some, and fresh memory of the size otherwise.
    `sizes` are the dynamic extents of the type. The op runs at most once in a
    call. Contents are undefined at first; there is no free.

    Example:

    ```mlir
    func.func @entry(%x: memref<?x64xf32>) -> memref<?x64xf32> {
      %c0 = arith.constant 0 : index
      %t = memref.dim %x, %c0 : memref<?x64xf32>
      %out = symm.alloc_result 0(%t) : memref<?x64xf32>
      return %out : memref<?x64xf32>
    }
    ```

    **Constraints:**
    - The type has identity layout and is in the default memory space.
    - There is one of `sizes` per dynamic extent.
  }];
  let arguments = (ins
    ConfinedAttr<I64Attr, [IntNonNegative]>:$index, Variadic<Index>:$sizes);
  let results = (outs Res<AnyMemRef, "", [MemAlloc]>:$buffer);
  let assemblyFormat = [{
    $index (`(` $sizes^ `)`)? attr-dict `:` type($buffer)
  }];
  let hasVerifier = 1;
}

def Symm_CopyRowsOp : Symm_Op<"copy_rows", [AttrSizedOperandSegments]> {
  let summary = "copies the rows of buffers that are valid";
  let description = [{
    Copies groups of rows from each of `sources` to the same rows of the one of
    `targets` that stands at its place, and leaves all other rows as they are.
    Group `g` has `counts[g]` rows. They begin at row `offsets[g]` where that is
    given, at row `g * N` with `every N`, and otherwise behind those of the group
    before. Rows past the end of a buffer are left out, and a count below zero
    stands for none. A row is everything below the leading dimension.

    This is how rows that arrived leave symmetric memory: only the device knows
    how many of a buffer's rows there are. `symm-expand-row-copies` makes loops of
    the op, or a kernel.

    Example:

    ```mlir
    func.func @leave(%to: memref<512x64xbf16>, %ids: memref<512xi32>,
                     %counts: memref<4xi32>) {
      %rows = symm.alloc : memref<512x64xbf16, #symm.space>
      %sent = symm.alloc : memref<512xi32, #symm.space>
      symm.copy_rows %rows, %sent to %to, %ids counts %counts
        : memref<512x64xbf16, #symm.space>, memref<512xi32, #symm.space>
       to memref<512x64xbf16>, memref<512xi32> counts memref<4xi32>
      symm.copy_rows %rows to %to counts %counts every 128
        : memref<512x64xbf16, #symm.space> to memref<512x64xbf16>
          counts memref<4xi32>
      return
    }
    ```

    **Constraints:**
    - There are as many `targets` as `sources`, one at least, all of the same
      leading extent.
    - Each source has the element type and the static shape of its target.
    - Rows of both are contiguous in memory, and rows follow one another.
    - `offsets` has the type of `counts`; it is not there with `every`.
  }];
  let arguments = (ins
    Arg<Variadic<AnyStaticShapeMemRef>, "", [MemRead]>:$sources,
    Arg<Variadic<AnyStaticShapeMemRef>, "", [MemWrite]>:$targets,
    Arg<Symm_Counts, "", [MemRead]>:$counts,
    Arg<Optional<Symm_Counts>, "", [MemRead]>:$offsets,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$every);
  let assemblyFormat = [{
    $sources `to` $targets `counts` $counts (`at` $offsets^)?
    (`every` $every^)? attr-dict `:` type($sources) `to` type($targets)
    `counts` type($counts) (`at` type($offsets)^)?
  }];
  let hasVerifier = 1;
}

def Symm_RankOp : Symm_Op<"rank", [Pure,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "rank of this process in the group";
  let description = [{
    Example:

    ```mlir
    %me = symm.rank
    ```
  }];
  let results = (outs Index:$rank);
  let assemblyFormat = "attr-dict";
}

def Symm_PeerOp : Symm_Op<"peer", [
    Pure, AllTypesMatch<["buffer", "result"]>, ViewLikeOpInterface,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "the copy of a symmetric buffer on another rank";
  let description = [{
    Loads and stores on the result act on the memory of rank `rank`. The rank
    has to be below the group's size; it may be this rank itself.

    Example:

    ```mlir
    %y = symm.alloc : memref<512x64xbf16, #symm.space>
    %c1 = arith.constant 1 : index
    %y1 = symm.peer %y at %c1 : memref<512x64xbf16, #symm.space>
    ```
  }];
  let arguments = (ins Symm_MemRef:$buffer, Index:$rank);
  let results = (outs Symm_MemRef:$result);
  let assemblyFormat = "$buffer `at` $rank attr-dict `:` type($buffer)";
  let extraClassDeclaration = [{
    ::mlir::Value getViewSource() { return getBuffer(); }
    ::mlir::Value getViewDest() { return getResult(); }
  }];
}

//===----------------------------------------------------------------------===//
// Transfer and synchronisation
//===----------------------------------------------------------------------===//

def Symm_PutOp : Symm_Op<"put"> {
  let summary = "copies rows into a buffer on another rank";
  let description = [{
    Copies `count` rows (one when not given), from row `from` of `source` on, to
    rows from `to` on of `target` on rank `rank`. A row is everything below
    the leading dimension; rank-1 buffers have rows of one element. The bits are
    moved as they are.

    The put is not ordered with respect to other puts. A `symm.signal` to the
    same rank that follows it in program order publishes it.

    Example:

    ```mlir
    %x = memref.alloc() : memref<128x64xbf16>
    %recv = symm.alloc : memref<512x64xbf16, #symm.space>
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c7 = arith.constant 7 : index
    symm.put %x[%c0] to %recv[%c7] at %c1
      : memref<128x64xbf16> to memref<512x64xbf16, #symm.space>
    symm.put %x[%c0] to %recv[%c7] at %c1 count %c7
      : memref<128x64xbf16> to memref<512x64xbf16, #symm.space>
    ```

    **Constraints:**
    - `source` and `target` have the same element type and, below the leading
      dimension, the same static shape.
    - Rows of both are contiguous in memory, and rows follow one another.
  }];
  let arguments = (ins
    Arg<AnyMemRef, "", [MemRead]>:$source, Index:$from,
    Arg<Symm_MemRef, "", [MemWrite]>:$target, Index:$to,
    Index:$rank, Optional<Index>:$count);
  let assemblyFormat = [{
    $source `[` $from `]` `to` $target `[` $to `]` `at` $rank
    (`count` $count^)? attr-dict `:` type($source) `to` type($target)
  }];
  let hasVerifier = 1;
}

def Symm_NextEpochOp : Symm_Op<"next_epoch", [
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "increments an epoch counter";
  let description = [{
    Adds one to the single word of `counter` (this rank's own copy) and returns
    the new value. Epochs only grow: a flag is compared with `>=` and never has
    to be reset, so a program that was captured can be replayed.

    Example:

    ```mlir
    %counter = symm.alloc persistent : memref<1xi64, #symm.space>
    %epoch = symm.next_epoch %counter : memref<1xi64, #symm.space>
    ```

    **Constraints:**
    - `counter` has one element.
  }];
  let arguments = (ins Arg<Symm_Flags, "", [MemRead, MemWrite]>:$counter);
  let results = (outs I64:$epoch);
  let assemblyFormat = "$counter attr-dict `:` type($counter)";
  let hasVerifier = 1;
}

def Symm_SignalOp : Symm_Op<"signal"> {
  let summary = "sets a flag on another rank";
  let description = [{
    Stores `value` in word `index` of `flags` on rank `rank`. Release order,
    system scope: everything this rank put or stored before is visible to a rank
    that waits for the value. Each word has a single writer, and its values only
    grow. With `relaxed` the value itself is all that the waiting rank may rely
    on.

    Example:

    ```mlir
    %flags = symm.alloc persistent : memref<4xi64, #symm.space>
    %me = symm.rank
    %c2 = arith.constant 2 : index
    %epoch = arith.constant 1 : i64
    symm.signal %flags[%me] at %c2, %epoch : memref<4xi64, #symm.space>
    ```
  }];
  let arguments = (ins
    Arg<Symm_Flags, "", [MemWrite]>:$flags, Index:$index, Index:$rank,
    I64:$value, UnitAttr:$relaxed);
  let assemblyFormat = [{
    $flags `[` $index `]` `at` $rank `,` $value (`relaxed` $relaxed^)?
    attr-dict `:` type($flags)
  }];
}

def Symm_WaitOp : Symm_Op<"wait", [
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>,
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits for a flag";
  let description = [{
    Returns when word `index` of this rank's `flags` is at least `value`.
    Acquire order, system scope. `peer` is the rank that signals the word; it is
    named in the error when the wait times out or the peer has failed.

    With a result, returns the value that was seen last. In a GPU kernel, which
    runs on after a wait that timed out, it is then less than `value`: what
    depends on the signal must not happen.

    Example:

    ```mlir
    %flags = symm.alloc persistent : memref<4xi64, #symm.space>
    %c2 = arith.constant 2 : index
    %epoch = arith.constant 1 : i64
    symm.wait %flags[%c2] from %c2, %epoch : memref<4xi64, #symm.space>
    %seen = symm.wait %flags[%c2] from %c2, %epoch
      : memref<4xi64, #symm.space> -> i64
    ```
  }];
  let arguments = (ins Symm_Flags:$flags, Index:$index, Index:$peer,
    I64:$value);
  let results = (outs Optional<I64>:$seen);
  let assemblyFormat = [{
    $flags `[` $index `]` `from` $peer `,` $value attr-dict
    `:` type($flags) (`->` type($seen)^)?
  }];
  let builders = [
    OpBuilder<(ins "Value":$flags, "Value":$index, "Value":$peer,
                   "Value":$value), [{
      build($_builder, $_state, TypeRange(), flags, index, peer, value);
    }]>];
}

def Symm_BarrierOp : Symm_Op<"barrier", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits until all ranks have arrived";
  let description = [{
    Signals `value` to every rank and waits for the signal of every rank.
    Everything any rank did before the barrier is visible to every rank after it.
    `flags` has one word per rank and belongs to this barrier alone.

    Example:

    ```mlir
    %counter = symm.alloc persistent : memref<1xi64, #symm.space>
    %flags = symm.alloc persistent : memref<4xi64, #symm.space>
    %epoch = symm.next_epoch %counter : memref<1xi64, #symm.space>
    symm.barrier %flags, %epoch : memref<4xi64, #symm.space>
    ```
  }];
  let arguments = (ins Symm_Flags:$flags, I64:$value);
  let assemblyFormat = "$flags `,` $value attr-dict `:` type($flags)";
}

//===----------------------------------------------------------------------===//
// Errors and phases
//===----------------------------------------------------------------------===//

def Symm_CheckOp : Symm_Op<"check", [
    MemoryEffects<[MemRead, MemWrite]>, AttrSizedOperandSegments]> {
  let summary = "ends the entry with an error unless a condition holds";
  let description = [{
    When `condition` is false, the enclosing entry ends with an error on every
    rank. The message names the current collective op, its location and phase,
    this rank, `what` was looked at, the value that was `seen`, and what was
    `expected`: that much at most, and `at_least` so much where that is given;
    exactly that where the two are equal. It names the rank it concerns when
    `peer` is given, and the place in the op's input when `token` and `slot` are.

    Example:

    ```mlir
    %ok = arith.constant true
    %max = arith.constant 255 : i64
    %e = arith.constant 300 : i64
    %min = arith.constant -1 : i64
    %t = arith.constant 3 : index
    %k = arith.constant 1 : index
    symm.check %ok, invalid_expert, "expert id" expected %max at_least %min
      seen %e token %t slot %k
    ```
  }];
  let arguments = (ins I1:$condition, Symm_FailureAttr:$failure,
    StrAttr:$what, I64:$expected, Optional<I64>:$least, I64:$seen,
    Optional<Index>:$token, Optional<Index>:$slot, Optional<Index>:$peer);
  let assemblyFormat = [{
    $condition `,` $failure `,` $what `expected` $expected
    (`at_least` $least^)? `seen` $seen (`token` $token^)? (`slot` $slot^)?
    (`peer` $peer^)? attr-dict
  }];
}

def Symm_CollectiveBeginOp : Symm_Op<"collective_begin", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "marks the start of a collective op";
  let description = [{
    `op` names the operation that was lowered. `site` numbers the collectives of
    a module: all ranks must begin the same sites in the same order, and the
    runtime reports it when they do not.

    Example:

    ```mlir
    symm.collective_begin "moe.dispatch" site 0
    symm.phase "count"
    symm.phase "put"
    symm.collective_end
    ```
  }];
  let arguments = (ins StrAttr:$op,
    ConfinedAttr<I64Attr, [IntNonNegative]>:$site);
  let assemblyFormat = "$op `site` $site attr-dict";
}

def Symm_PhaseOp : Symm_Op<"phase", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "marks the start of a phase of the current collective";
  let description = [{
    Ends the phase before it. Phases appear in error messages and timings.

    Example:

    ```mlir
    symm.collective_begin "moe.combine" site 1
    symm.phase "reduce"
    symm.collective_end
    ```
  }];
  let arguments = (ins StrAttr:$phase);
  let assemblyFormat = "$phase attr-dict";
}

def Symm_CollectiveEndOp : Symm_Op<"collective_end", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "marks the end of a collective op";
  let description = [{
    See `symm.collective_begin`.
  }];
  let assemblyFormat = "attr-dict";
}

include "moe-mlir/Dialect/Symm/IR/SymmKernelOps.td"

#endif // MOE_MLIR_DIALECT_SYMM_IR_SYMMOPS_TD
