// Each stage of the compilation can be put out.
// RUN: moe-compile %s --emit=symm | FileCheck %s --check-prefix=SYMM
// RUN: moe-compile %s --emit=mlir | FileCheck %s --check-prefix=MLIR
// RUN: moe-compile %s --emit=llvm | FileCheck %s --check-prefix=LLVM
// RUN: moe-compile %s --emit=llvm -O0 | FileCheck %s --check-prefix=O0
// RUN: moe-compile %s --emit=obj -o %t.o
// RUN: llvm-readelf --file-header %t.o | FileCheck %s --check-prefix=OBJ
// RUN: moe-compile --target host -o %t.so < %s
// RUN: llvm-readelf --file-header --dynamic %t.so | FileCheck %s --check-prefix=SO
// RUN: moe-compile %s --emit=so -o - > %t.stdout.so
// RUN: moe-compile - -o %t.stdin.so < %s
// RUN: cmp %t.so %t.stdin.so

// SYMM: module attributes {moe.ranks = 2 : i64, symm.workspace_bytes = {{[1-9]}}
// SYMM: symm.collective_begin "moe.alltoallv" site 0
// SYMM: symm.put

// MLIR: llvm.func @moe_entry_exchange
// MLIR-NOT: symm.put

// LLVM: target triple = "x86_64-unknown-linux-gnu"
// LLVM: @moe_artifact_manifest = {{.*}}constant
// LLVM: store atomic i64 {{.*}} release
// What a rank is told of itself does not change during a call.
// LLVM: attributes #{{[0-9]+}} = { {{.*}}speculatable willreturn memory(none) }

// O0: define internal {{.*}}@local.exchange
// O0: call {{.*}}@local.exchange

// OBJ: Type: REL (Relocatable file)
// OBJ: Machine: Advanced Micro Devices X86-64

// SO: Type: DYN (Shared object file)
// SO-NOT: NEEDED
// SO-NOT: TEXTREL
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<10x4xf32>, %counts: tensor<2xi32>) -> tensor<20x4xf32> {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<10x4xf32>, tensor<2xi32>) -> (tensor<20x4xf32>, tensor<2xi32>)
  return %recv : tensor<20x4xf32>
}
