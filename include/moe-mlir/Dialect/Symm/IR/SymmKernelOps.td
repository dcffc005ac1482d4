//===- SymmKernelOps.td - symm operations of GPU kernels ---*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_SYMM_IR_SYMMKERNELOPS_TD
#define MOE_MLIR_DIALECT_SYMM_IR_SYMMKERNELOPS_TD

include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe-mlir/Dialect/Symm/IR/SymmBase.td"

//===----------------------------------------------------------------------===//
// Puts and barriers of a grid
//===----------------------------------------------------------------------===//

def Symm_PutEachOp : Symm_Op<"put_each"> {
  let summary = "copies rows to several ranks, executed by a subgroup";
  let description = [{
    Inside a GPU kernel. All lanes of a subgroup execute the op together. Lane `i`
    passes one destination: row `to` of `target` on rank `rank`, or nothing when
    `to` is negative. Row `from` of `source`, which is the same on all lanes, is
    read once and stored to every destination, each store as wide as the row's
    alignment allows (16 bytes at most). Destinations are visited in the order of
    the lanes, rotated by `rotation`: subgroups that pass different rotations do
    not turn to the same rank at the same time.

    When `source` is a stage in workgroup memory, each lane starts a bulk copy of
    row `from` to its destination instead; `symm.put_wait` waits for them.

    Where `target` is not symmetric it is memory of this rank, from which rows are
    sent on, or to which they are taken; then `rank` has no meaning.

    With `rows N`, N consecutive rows move as if they were one: those from `from`
    on, to those from `to` on.

    The row is read as memory that nobody writes while the kernel runs. With
    `coherent` it may have been written by other ranks since, before a signal that
    this subgroup has waited for.

    Only the first `lanes` lanes have destinations. Several subgroups can share
    the work: with `share %member of N`, each of N subgroups that pass the same
    destinations copies its part of the row. The puts are published like those of
    `symm.put`.

    Example:

    ```mlir
    func.func @put_each(%x: memref<128x64xbf16>, %from: index, %to: index,
                        %rank: index, %rotation: index) {
      %recv = symm.alloc : memref<512x64xbf16, #symm.space>
      symm.put_each %x[%from] to %recv[%to] at %rank rotated %rotation lanes 4
        : memref<128x64xbf16> to memref<512x64xbf16, #symm.space>
      return
    }
    ```

    **Constraints:**
    - those of `symm.put`;
    - `lanes` is from 1 to 32;
    - `team` is from 1 to 32; it and `rows` are 1 when `source` is in workgroup
      memory, which is never `coherent`.
  }];
  let arguments = (ins
    Arg<AnyMemRef, "", [MemRead]>:$source, Index:$from,
    Arg<AnyMemRef, "", [MemWrite]>:$target, Index:$to,
    Index:$rank, Index:$rotation,
    ConfinedAttr<I64Attr, [IntMinValue<1>, IntMaxValue<32>]>:$lanes,
    Optional<Index>:$member,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntMinValue<1>, IntMaxValue<32>]>,
                      "1">:$team,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$rows,
    UnitAttr:$coherent);
  let assemblyFormat = [{
    $source `[` $from `]` `to` $target `[` $to `]` `at` $rank
    `rotated` $rotation `lanes` $lanes (`share` $member^ `of` $team)?
    (`rows` $rows^)? (`coherent` $coherent^)? attr-dict
    `:` type($source) `to` type($target)
  }];
  let hasVerifier = 1;
}

def Symm_GridBarrierOp : Symm_Op<"grid_barrier", [
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>,
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits until all blocks of the grid have arrived";
  let description = [{
    Inside a GPU kernel whose blocks all run at the same time. All threads of all
    blocks execute the op. What any thread of this rank did before is visible to
    every thread of this rank after it. `counter` has one element, zero at first,
    and belongs to this barrier. Bounded: a barrier that times out records an
    error (`symm.failed`) and leaves the counter unusable until the workspace is
    zeroed.

    With a result, returns whether all blocks have arrived. All threads of a
    block get the same answer. Where it is false, what depends on the other blocks
    must not happen.

    Example:

    ```mlir
    %counter = symm.alloc persistent : memref<1xi64, #symm.space>
    symm.grid_barrier %counter : memref<1xi64, #symm.space>
    %met = symm.grid_barrier %counter : memref<1xi64, #symm.space> -> i1
    ```

    **Constraints:**
    - `counter` has one element.
  }];
  let arguments = (ins Symm_Words:$counter);
  let results = (outs Optional<I1>:$met);
  let assemblyFormat = [{
    $counter attr-dict `:` type($counter) (`->` type($met)^)?
  }];
  let hasVerifier = 1;
}

def Symm_PostOp : Symm_Op<"post"> {
  let summary = "tells the other blocks of the grid a value";
  let description = [{
    Inside a GPU kernel. Stores `value` together with the low 32 bits of `epoch`
    in word `index` of this rank's `words`, in one step. Threads of this rank read
    it with `symm.collect`. Says nothing about the order of other memory accesses:
    the value is all that they learn. In one epoch a word is posted once.

    Example:

    ```mlir
    func.func @post(%value: i32, %index: index, %epoch: i64) {
      %words = symm.alloc persistent : memref<96xi64, #symm.space>
      symm.post %value to %words[%index] in %epoch : memref<96xi64, #symm.space>
      return
    }
    ```
  }];
  let arguments = (ins I32:$value, Arg<Symm_Words, "", [MemWrite]>:$words,
    Index:$index, I64:$epoch);
  let assemblyFormat = [{
    $value `to` $words `[` $index `]` `in` $epoch attr-dict `:` type($words)
  }];
}

def Symm_CollectOp : Symm_Op<"collect", [
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>,
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits for a value that a block of the grid posts";
  let description = [{
    Inside a GPU kernel whose blocks all run at the same time. Returns when word
    `index` of this rank's `words` has been posted in `epoch`, with its value:
    each block that collects what all blocks post knows it without one more
    meeting. Says nothing about the order of other memory accesses.

    Bounded: a wait that times out records an error (`symm.failed`). Then `posted`
    is false, and what depends on the value must not happen.

    Example:

    ```mlir
    func.func @collect(%index: index, %epoch: i64) -> (i32, i1) {
      %words = symm.alloc persistent : memref<96xi64, #symm.space>
      %value, %posted = symm.collect %words[%index] in %epoch
        : memref<96xi64, #symm.space>
      return %value, %posted : i32, i1
    }
    ```
  }];
  let arguments = (ins Symm_Words:$words, Index:$index, I64:$epoch);
  let results = (outs I32:$value, I1:$posted);
  let assemblyFormat = [{
    $words `[` $index `]` `in` $epoch attr-dict `:` type($words)
  }];
}

def Symm_TakeOp : Symm_Op<"take", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "takes the next number of a counter";
  let description = [{
    Inside a GPU kernel. Returns word `index` of `counters` and adds one to it, in
    one step: threads of all blocks that take numbers get different ones, without
    gaps. Says nothing about the order of other memory accesses.

    Example:

    ```mlir
    %counters = symm.alloc persistent : memref<2xi64, #symm.space>
    %c0 = arith.constant 0 : index
    %number = symm.take %counters[%c0] : memref<2xi64, #symm.space>
    ```
  }];
  let arguments = (ins Symm_Words:$counters, Index:$index);
  let results = (outs I64:$number);
  let assemblyFormat = "$counters `[` $index `]` attr-dict `:` type($counters)";
}

def Symm_MarkOp : Symm_Op<"mark"> {
  let summary = "sets bits of a word that threads of a block share";
  let description = [{
    Inside a GPU kernel. Sets the bits of `bits` in word `index` of `words`, in one
    step: threads that set bits of the same word at the same time lose none. Others
    see them after a block barrier; the op says nothing about the order of other
    memory accesses.

    Example:

    ```mlir
    func.func @mark(%words: memref<8xi32, #gpu.address_space<workgroup>>,
                    %index: index, %bits: i32) {
      symm.mark %words[%index], %bits
        : memref<8xi32, #gpu.address_space<workgroup>>
      return
    }
    ```
  }];
  let arguments = (ins Arg<Symm_Marks, "", [MemRead, MemWrite]>:$words,
    Index:$index, I32:$bits);
  let assemblyFormat = [{
    $words `[` $index `]` `,` $bits attr-dict `:` type($words)
  }];
}

def Symm_FailedOp : Symm_Op<"failed", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "whether this rank has recorded an error";
  let description = [{
    Inside a GPU kernel, where a failed check or wait records the error and lets
    the kernel run on: what follows must not depend on it. Threads that look at
    different times may see different answers.

    Example:

    ```mlir
    %failed = symm.failed
    ```
  }];
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}

//===----------------------------------------------------------------------===//
// Loads in flight
//===----------------------------------------------------------------------===//

def Symm_JoinLoadsOp : Symm_Op<"join_loads", [
    Pure, AttrSizedOperandSegments,
    RangedTypesMatchWith<"the types of results are those of values",
                         "values", "results", "$_self">]> {
  let summary = "vectors that are there when all of them, and others, are";
  let description = [{
    Inside a GPU kernel. Returns `values`, which are there only when all operands
    are. What is computed from the results therefore comes after all loads, and
    the loads are in flight together. Without the op an assembler that saves
    registers may move some loads behind the first use of others, so that each
    waits for the one before.

    The results are `values`, and yet the op must not be folded. It orders nothing
    else, and costs a few logic operations: the first word of each operand, and-ed
    with a zero that no compiler knows, changes no bit of the results. An operand
    stands for the one load that brings it, and so loads have to be aligned to
    their vectors.

    Example:

    ```mlir
    func.func @sum(%x: memref<8x64xbf16, #symm.space>, %i: index)
        -> vector<8xbf16> {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %0 = vector.load %x[%c0, %i] {alignment = 16 : i64}
        : memref<8x64xbf16, #symm.space>, vector<8xbf16>
      %1 = vector.load %x[%c1, %i] {alignment = 16 : i64}
        : memref<8x64xbf16, #symm.space>, vector<8xbf16>
      %2 = symm.join_loads %0 with %1 : vector<8xbf16> with vector<8xbf16>
      %3 = arith.addf %2, %1 : vector<8xbf16>
      return %3 : vector<8xbf16>
    }
    ```
  }];
  let arguments = (ins Variadic<Symm_LoadedVector>:$values,
    Variadic<Symm_LoadedVector>:$others);
  let results = (outs Variadic<Symm_LoadedVector>:$results);
  let assemblyFormat = [{
    $values (`with` $others^)? attr-dict `:` type($values)
    (`with` type($others)^)?
  }];
  let builders = [OpBuilder<(ins "ValueRange":$values, "ValueRange":$others), [{
    build($_builder, $_state, values.getTypes(), values, others);
  }]>];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Bulk copies through stages
//===----------------------------------------------------------------------===//

def Symm_StageInitOp : Symm_Op<"stage_init", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "prepares the arrival counters of stages";
  let description = [{
    Inside a GPU kernel. A *stage* is a buffer in workgroup memory that bulk
    copies fill and drain; a ring of stages keeps several copies in flight. Each
    stage has arrival counters, words of workgroup memory with a phase that ends
    when `arrivals` arrivals and all bytes that were announced are there.

    One thread executes the op for all words of `counters`, before a block
    barrier.

    Example:

    ```mlir
    func.func @stage_init(%full: memref<3xi64, #gpu.address_space<workgroup>>) {
      symm.stage_init %full arrivals 1
        : memref<3xi64, #gpu.address_space<workgroup>>
      return
    }
    ```
  }];
  let arguments = (ins Symm_Arrivals:$counters,
    ConfinedAttr<I64Attr, [IntPositive]>:$arrivals);
  let assemblyFormat = "$counters `arrivals` $arrivals attr-dict `:` type($counters)";
}

def Symm_StageExpectOp : Symm_Op<"stage_expect", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "arrives at a stage and announces bytes";
  let description = [{
    Arrives at word `index` of `counters`, and makes its phase wait for `bytes`
    more bytes, which `symm.fetch` brings. Release order for the block: who waits
    for the phase sees what this thread stored before.

    Example:

    ```mlir
    func.func @stage_expect(%full: memref<3xi64, #gpu.address_space<workgroup>>,
                            %slot: index, %bytes: index) {
      symm.stage_expect %full[%slot], %bytes
        : memref<3xi64, #gpu.address_space<workgroup>>
      return
    }
    ```
  }];
  let arguments = (ins Symm_Arrivals:$counters, Index:$index, Index:$bytes);
  let assemblyFormat = [{
    $counters `[` $index `]` `,` $bytes attr-dict `:` type($counters)
  }];
}

def Symm_StageArriveOp : Symm_Op<"stage_arrive", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "arrives at a stage";
  let description = [{
    Arrives at word `index` of `counters`. Release order for the block.

    Example:

    ```mlir
    func.func @stage_arrive(%empty: memref<3xi64, #gpu.address_space<workgroup>>,
                            %slot: index) {
      symm.stage_arrive %empty[%slot]
        : memref<3xi64, #gpu.address_space<workgroup>>
      return
    }
    ```
  }];
  let arguments = (ins Symm_Arrivals:$counters, Index:$index);
  let assemblyFormat = "$counters `[` $index `]` attr-dict `:` type($counters)";
}

def Symm_StageWaitOp : Symm_Op<"stage_wait", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits for the end of a stage's phase";
  let description = [{
    Waits until the phase of word `index` whose number, counted from 0, has the
    lowest bit `parity` has ended. Acquire order for the block; the bytes that
    arrived are visible. Bounded by time alone: unlike `symm.wait`, it does not
    end early after an error of this rank, so that no bulk copy outlives the
    memory of its block.

    Example:

    ```mlir
    func.func @stage_wait(%full: memref<3xi64, #gpu.address_space<workgroup>>,
                          %slot: index, %parity: index) {
      symm.stage_wait %full[%slot] parity %parity
        : memref<3xi64, #gpu.address_space<workgroup>>
      return
    }
    ```
  }];
  let arguments = (ins Symm_Arrivals:$counters, Index:$index, Index:$parity);
  let assemblyFormat = [{
    $counters `[` $index `]` `parity` $parity attr-dict `:` type($counters)
  }];
}

def Symm_FetchOp : Symm_Op<"fetch"> {
  let summary = "starts a bulk copy into a stage";
  let description = [{
    Inside a GPU kernel, executed by one thread. Starts to copy consecutive
    elements of `source`, from `indices` on, into row `slot` of `stage`: as many
    as the row has. Its bytes count for word `counter` of `counters`, which has
    to expect them (`symm.stage_expect`). `source` may be the copy of a symmetric
    buffer on another rank.

    Example:

    ```mlir
    func.func @fetch(%x: memref<128x64xbf16>, %token: index, %slot: index,
                     %stage: memref<3x64xbf16, #gpu.address_space<workgroup>>,
                     %full: memref<3xi64, #gpu.address_space<workgroup>>) {
      %c0 = arith.constant 0 : index
      symm.fetch %x[%token, %c0] to %stage[%slot] counted by %full[%slot]
        : memref<128x64xbf16>
        to memref<3x64xbf16, #gpu.address_space<workgroup>>,
        memref<3xi64, #gpu.address_space<workgroup>>
      return
    }
    ```

    **Constraints:**
    - `stage` is contiguous, has the element type of `source`, and rows of a
      multiple of 16 bytes;
    - `source` has one index per dimension, and contiguous rows.
  }];
  let arguments = (ins
    Arg<AnyMemRef, "", [MemRead]>:$source, Variadic<Index>:$indices,
    Arg<Symm_Stage, "", [MemWrite]>:$stage, Index:$slot,
    Arg<Symm_Arrivals, "", [MemRead, MemWrite]>:$counters, Index:$counter);
  let assemblyFormat = [{
    $source `[` $indices `]` `to` $stage `[` $slot `]`
    `counted` `by` $counters `[` $counter `]` attr-dict
    `:` type($source) `to` type($stage) `,` type($counters)
  }];
  let hasVerifier = 1;
}

def Symm_PutWaitOp : Symm_Op<"put_wait", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits for the bulk copies of a subgroup's puts";
  let description = [{
    All lanes of a subgroup execute the op. Returns when at most `pending` of its
    latest `symm.put_each` ops from stages are unfinished. With `read`, a put
    counts as finished when its stage has been read and can be filled again.
    Without, it is finished on the other rank too, and published like a store.

    Example:

    ```mlir
    symm.put_wait pending 1 read
    symm.put_wait pending 0
    ```
  }];
  let arguments = (ins
    ConfinedAttr<I64Attr, [IntNonNegative]>:$pending, UnitAttr:$read);
  let assemblyFormat = "`pending` $pending (`read` $read^)? attr-dict";
}

def Symm_BulkFenceOp : Symm_Op<"bulk_fence", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "orders loads and stores before bulk copies";
  let description = [{
    Bulk copies that this thread starts afterwards see what ordinary loads and
    stores before the op have seen and done.

    Example:

    ```mlir
    symm.bulk_fence
    ```
  }];
  let assemblyFormat = "attr-dict";
}

#endif // MOE_MLIR_DIALECT_SYMM_IR_SYMMKERNELOPS_TD
