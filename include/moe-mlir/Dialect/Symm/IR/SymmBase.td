//===- SymmBase.td - symm dialect definition ---------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_SYMM_IR_SYMMBASE_TD
#define MOE_MLIR_DIALECT_SYMM_IR_SYMMBASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Symm_Dialect : Dialect {
  let name = "symm";
  let cppNamespace = "::mlir::symm";
  let summary = "One-sided operations on symmetric memory";
  let description = [{
    Symmetric memory is memory that every rank of a group allocates with the
    same size and layout, and that every rank can address on every other rank.
    The dialect has the few one-sided operations a protocol between ranks is
    made of: a rank *puts* rows into the memory of a peer, *signals* that they
    are there, and the peer *waits* for the signal before it reads.

    Buffers are memrefs in the memory space `#symm.space`. A load or store on
    such a memref acts on this rank's own copy of the buffer; `symm.peer` gives
    the copy of another rank.

    Every wait is bounded. A wait that times out and a `symm.check` that fails
    end the execution of the enclosing entry with an error on every rank;
    nothing after them takes effect. Therefore no op has an error result.

    Ranks on other hosts have no memory that this one could address: they exist in
    `coll` ops only. A module that is compiled for messages may use those ops of
    this dialect that touch no memory of other ranks: `symm.rank`, `symm.check`,
    `symm.collective_begin`, `symm.phase`, `symm.collective_end` and those of
    results.

    The memory model is written down in docs/MemoryModel.md.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

class Symm_Op<string mnemonic, list<Trait> traits = []>
    : Op<Symm_Dialect, mnemonic, traits>;

class Symm_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Symm_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Symm_SpaceAttr : Symm_Attr<"Space", "space"> {
  let summary = "the memory space of symmetric buffers";
  let description = [{
    Marks a memref whose storage every rank of the group has at the same offset
    of its symmetric workspace.
  }];
}

def Symm_FailureEnum : I32EnumAttr<"Failure", "what a failed check reports", [
    I32EnumAttrCase<"invalid_argument", 1>,
    I32EnumAttrCase<"peer_failed", 7>,
    I32EnumAttrCase<"invalid_expert", 9>,
    I32EnumAttrCase<"capacity_exceeded", 10>,
    I32EnumAttrCase<"invalid_count", 11>]> {
  let cppNamespace = "::mlir::symm";
  let genSpecializedAttr = 0;
  let description = [{
    The values are those of `moert_code` in the artifact ABI.
  }];
}

def Symm_FailureAttr : EnumAttr<Symm_Dialect, Symm_FailureEnum, "failure">;

/// A memref in symmetric memory.
def Symm_MemRef : Type<
    And<[AnyStaticShapeMemRef.predicate,
         CPred<"::llvm::isa_and_present<::mlir::symm::SpaceAttr>("
               "::llvm::cast<::mlir::MemRefType>($_self).getMemorySpace())">]>,
    "statically shaped memref in symmetric memory (#symm.space)",
    "::mlir::MemRefType">;

/// Words that peers signal: one i64 per peer.
def Symm_Flags : Type<
    And<[Symm_MemRef.predicate, HasAnyRankOfPred<[1]>,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(64)">]>,
    "rank-1 memref of i64 in symmetric memory (#symm.space)",
    "::mlir::MemRefType">;

/// Words that blocks of a rank share: no other rank accesses them, and so they
/// need not be symmetric.
def Symm_Words : Type<
    And<[AnyStaticShapeMemRef.predicate, HasAnyRankOfPred<[1]>,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(64)">]>,
    "statically shaped rank-1 memref of i64", "::mlir::MemRefType">;

/// Numbers of rows, or rows, that one rank computes.
def Symm_Counts : Type<
    And<[AnyStaticShapeMemRef.predicate, HasAnyRankOfPred<[1]>,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(32)">]>,
    "statically shaped rank-1 memref of i32", "::mlir::MemRefType">;

/// A memref in the memory that the threads of a GPU block share.
class Symm_WorkgroupMemRef<Pred condition, string description> : Type<
    And<[AnyStaticShapeMemRef.predicate,
         CPred<"::mlir::gpu::GPUDialect::isWorkgroupMemoryAddressSpace("
               "::llvm::cast<::mlir::MemRefType>($_self).getMemorySpace())">,
         condition]>,
    description # " in workgroup memory (#gpu.address_space<workgroup>)",
    "::mlir::MemRefType">;

/// What bulk copies fill and drain: rows.
def Symm_Stage : Symm_WorkgroupMemRef<
    Neg<HasAnyRankOfPred<[0]>>, "statically shaped memref with rows">;

/// Counters of arrivals at stages.
def Symm_Arrivals : Symm_WorkgroupMemRef<
    And<[HasAnyRankOfPred<[1]>,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(64)">]>,
    "rank-1 memref of i64">;

/// Words whose bits threads of a block set.
def Symm_Marks : Symm_WorkgroupMemRef<
    And<[HasAnyRankOfPred<[1]>,
         CPred<"::llvm::cast<::mlir::MemRefType>($_self)"
               ".getElementType().isInteger(32)">]>,
    "rank-1 memref of i32">;

/// What one load of a lane brings.
def Symm_LoadedVector : Type<
    And<[FixedVectorOfRankAndType<[1], [AnySignlessInteger, AnyFloat]>.predicate,
         CPred<"::llvm::is_contained({8, 16, 32, 64, 128}, "
               "::llvm::cast<::mlir::VectorType>($_self).getNumElements() * "
               "::llvm::cast<::mlir::VectorType>($_self)"
               ".getElementTypeBitWidth())">]>,
    "vector of 1, 2, 4, 8 or 16 bytes", "::mlir::VectorType">;

#endif // MOE_MLIR_DIALECT_SYMM_IR_SYMMBASE_TD
