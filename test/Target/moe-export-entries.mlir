// RUN: moe-opt %s -split-input-file --moe-export-entries="cpu=x86-64-v2" | FileCheck %s

// The notes of earlier passes are gone, so is the grid.
// CHECK: module {
// CHECK-NOT: shard.grid
module attributes {moe.ranks = 4 : i64, symm.workspace_bytes = 512 : i64,
                   symm.sites = [{location = "a.mlir:1:2", op = "moe.dispatch"}]} {
  shard.grid @ep(shape = 4)
  // What is defined here is internal, under a name of its own.
  // CHECK: llvm.mlir.global internal constant @local.table
  llvm.mlir.global constant @table(dense<[1, 2]> : tensor<2xi32>) : !llvm.array<2 x i32>
  // CHECK: llvm.func internal @local.exp(%{{.*}}: f32)
  llvm.func @exp(%x: f32) -> f32 {
    // CHECK: llvm.call @expf(
    %0 = llvm.call @expf(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  // CHECK: llvm.func @expf(f32) -> f32
  llvm.func @expf(f32) -> f32
  // CHECK: llvm.func internal @local.one(
  // CHECK-NOT: moe.entry =
  llvm.func @one(%a: !llvm.ptr, %b: !llvm.ptr, %o: i64, %n: i64, %s: i64)
      -> !llvm.struct<(ptr, ptr, i64)>
      attributes {moe.entry = (tensor<?xbf16>) -> tensor<f32>} {
    // CHECK: llvm.mlir.addressof @local.table
    %t = llvm.mlir.addressof @table : !llvm.ptr
    // CHECK: llvm.call @local.exp(
    %c = llvm.mlir.constant(1.0 : f32) : f32
    %e = llvm.call @exp(%c) : (f32) -> f32
    %0 = llvm.mlir.poison : !llvm.struct<(ptr, ptr, i64)>
    llvm.return %0 : !llvm.struct<(ptr, ptr, i64)>
  }
  llvm.func @none() attributes {moe.entry = () -> ()} {
    llvm.return
  }
  llvm.func @two(%a: !llvm.ptr, %b: !llvm.ptr, %o: i64)
      -> !llvm.struct<(struct<(ptr, ptr, i64)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>)>
      attributes {moe.entry = (tensor<i1>) -> (tensor<i1>, tensor<2xi8>)} {
    %0 = llvm.mlir.poison : !llvm.struct<(struct<(ptr, ptr, i64)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>)>
    llvm.return %0 : !llvm.struct<(struct<(ptr, ptr, i64)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>)>
  }
}

// The offset of an argument is added to its pointer, in units of its elements.
// CHECK-LABEL: llvm.func @moe_entry_one(
// CHECK-SAME: %[[ARGS:.*]]: !llvm.ptr)
// CHECK: %[[SLOT:.*]] = llvm.getelementptr %[[ARGS]][0] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
// CHECK: %[[ARG:.*]] = llvm.load %[[SLOT]]
// CHECK: %[[DESC:.*]] = llvm.load %[[ARG]] : !llvm.ptr -> !llvm.struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>
// CHECK: %[[DATA:.*]] = llvm.extractvalue %[[DESC]][1]
// CHECK: %[[ALLOCATED:.*]] = llvm.extractvalue %[[DESC]][0]
// CHECK: %[[OFFSET:.*]] = llvm.extractvalue %[[DESC]][2]
// CHECK: %[[START:.*]] = llvm.getelementptr %[[DATA]][%[[OFFSET]]] : (!llvm.ptr, i64) -> !llvm.ptr, i16
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0 : i64)
// CHECK: %[[SIZE:.*]] = llvm.extractvalue %[[DESC]][3, 0]
// CHECK: %[[STRIDE:.*]] = llvm.extractvalue %[[DESC]][4, 0]
// CHECK: %[[RESULT:.*]] = llvm.call @local.one(%[[ALLOCATED]], %[[START]], %[[ZERO]], %[[SIZE]], %[[STRIDE]])
// CHECK: %[[SLOT1:.*]] = llvm.getelementptr %[[ARGS]][1]
// CHECK: %[[OUT:.*]] = llvm.load %[[SLOT1]]
// CHECK: llvm.store %[[RESULT]], %[[OUT]]

// CHECK-LABEL: llvm.func @moe_entry_none(
// CHECK-NEXT: llvm.call @local.none() : () -> ()
// CHECK-NEXT: llvm.return

// CHECK-LABEL: llvm.func @moe_entry_two(
// CHECK: %[[BOTH:.*]] = llvm.call @local.two(
// CHECK: llvm.extractvalue %[[BOTH]][0]
// CHECK: llvm.extractvalue %[[BOTH]][1]

// CHECK: llvm.mlir.global external constant @moe_artifact_manifest("{\22abi_version\22:5,\22producer\22:\22moe-mlir {{[0-9.]+}}\22,
// CHECK-SAME: \22target\22:\22host\22,\22cpu\22:\22x86-64-v2\22,\22hash\22:\22{{[0-9a-f]+}}\22,
// CHECK-SAME: \22ranks\22:4,\22symm_bytes\22:512,\22entries\22:[
// CHECK-SAME: {\22name\22:\22one\22,\22symbol\22:\22moe_entry_one\22,\22args\22:[{\22dtype\22:\22bf16\22,\22shape\22:[-1]}],\22results\22:[{\22dtype\22:\22f32\22,\22shape\22:[]}]},
// CHECK-SAME: {\22name\22:\22none\22,\22symbol\22:\22moe_entry_none\22,\22args\22:[],\22results\22:[]},
// CHECK-SAME: {\22name\22:\22two\22,{{.*}}\22dtype\22:\22i1\22,\22shape\22:[]{{.*}}\22dtype\22:\22i8\22,\22shape\22:[2]}
// CHECK-SAME: \22sites\22:[{\22op\22:\22moe.dispatch\22,\22location\22:\22a.mlir:1:2\22}]}\00")

// -----

// A module that no pass has noted anything on.
// CHECK-LABEL: module
// CHECK: llvm.mlir.global external constant @moe_artifact_manifest({{.*}}\22ranks\22:0,\22symm_bytes\22:0,\22entries\22:[],\22sites\22:[]}\00")
llvm.func @f() {
  llvm.return
}

// -----

// What is known of the extents of results is told to callers.
// CHECK-LABEL: module
// CHECK-NOT: moe.result_extents
// CHECK: llvm.mlir.global external constant @moe_artifact_manifest({{.*}}\22results\22:[{\22dtype\22:\22i8\22,\22shape\22:[-1],\22extents\22:{{\[\[}}0,1{{\]\]}}},{\22dtype\22:\22i8\22,\22shape\22:[-1],\22extents\22:[7]},{\22dtype\22:\22i8\22,\22shape\22:[-1]}]}]
llvm.func @f(%a: !llvm.ptr, %b: !llvm.ptr, %o: i64, %n0: i64, %n1: i64, %s0: i64, %s1: i64)
    -> !llvm.struct<(struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>)>
    attributes {moe.entry = (tensor<2x?xi8>) -> (tensor<?xi8>, tensor<?xi8>, tensor<?xi8>),
                moe.result_extents = [[array<i64: 0, 1>], [7], [unit]]} {
  %0 = llvm.mlir.poison : !llvm.struct<(struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>)>
  llvm.return %0 : !llvm.struct<(struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>, struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>)>
}
