//===- CollBase.td - coll dialect definition ---------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_COLL_IR_COLLBASE_TD
#define MOE_MLIR_DIALECT_COLL_IR_COLLBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Coll_Dialect : Dialect {
  let name = "coll";
  let cppNamespace = "::mlir::coll";
  let summary = "Messages between ranks";
  let description = [{
    The ranks of a group exchange rows of their buffers as messages. The ops say
    which rows go from where to where, and nothing of how: the same module runs on
    ranks that share memory, that are processes of an MPI job, or that have GPUs
    and NCCL. This is the level for ranks on several hosts, where `symm`, whose
    ranks address each other's memory, does not reach.

    All ranks of the group execute the same ops in the same order (coll_s1). An op
    returns when the buffers of this rank may be used again: what it received is
    there, and what it sends may be overwritten (coll_s2). On a GPU this is meant
    in the order of the stream. No op orders anything between two other ranks.

    Buffers are memrefs with contiguous rows; a row is everything below the
    leading dimension. The bits are moved as they are (coll_s3). What a rank sends
    to itself is copied. In a module that is compiled, all ops are for as many
    ranks as its grids have (coll_c8).

    Every wait is bounded. A message that does not come, a peer that failed, or
    ranks that execute different collectives end the enclosing entry with an error
    on every rank; nothing after the op takes effect. Therefore no op has an error
    result. docs/Coll.md shows the protocols that are written with these ops.
  }];
}

class Coll_Op<string mnemonic, list<Trait> traits = []>
    : Op<Coll_Dialect, mnemonic, traits>;

/// The messages of the group, which are sent in program order: no op may be
/// dropped, doubled or moved past another one.
def Coll_Messages : Resource<"::mlir::coll::MessageResource">;

/// A memref that is sent from or received in. Its elements are as large in
/// memory as their bits say.
def Coll_Buffer : Type<
    And<[AnyStridedMemRef.predicate, Neg<HasAnyRankOfPred<[0]>>,
         CPred<"::mlir::coll::hasWholeElements("
               "::llvm::cast<::mlir::MemRefType>($_self))">,
         CPred<"::mlir::coll::hasContiguousRows("
               "::llvm::cast<::mlir::MemRefType>($_self))">]>,
    "memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, "
    "of rank 1 or more",
    "::mlir::MemRefType">;

/// The same, whose size is known.
def Coll_StaticBuffer : Type<
    And<[Coll_Buffer.predicate, HasStaticShapePred]>,
    "statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with "
    "contiguous rows, of rank 1 or more", "::mlir::MemRefType">;

/// Tables one behind the other, in memory of the host.
def Coll_HostTables : Type<
    And<[Coll_StaticBuffer.predicate,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(32)">]>,
    "statically shaped memref of i32 with contiguous rows, of rank 1 or more",
    "::mlir::MemRefType">;

/// Rows, or numbers of rows: one i32 per rank.
def Coll_Table : Type<
    And<[Coll_StaticBuffer.predicate, HasAnyRankOfPred<[1]>,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(32)">]>,
    "statically shaped rank-1 memref of i32 with contiguous rows",
    "::mlir::MemRefType">;

#endif // MOE_MLIR_DIALECT_COLL_IR_COLLBASE_TD
