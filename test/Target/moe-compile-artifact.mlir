// What an artifact exports and imports.
// RUN: moe-compile %s -o %t.so
// RUN: llvm-nm --dynamic --defined-only --format=just-symbols %t.so | FileCheck %s --check-prefix=EXPORTS --match-full-lines --implicit-check-not={{.}}
// RUN: llvm-nm --dynamic --undefined-only --format=just-symbols %t.so | FileCheck %s --check-prefix=IMPORTS --implicit-check-not=malloc --implicit-check-not=memrefCopy
// RUN: llvm-readelf --dynamic --program-headers %t.so | FileCheck %s --check-prefix=ELF
// RUN: llvm-readelf --string-dump=.rodata %t.so | FileCheck %s --check-prefix=MANIFEST

// Compiling again gives the same bytes.
// RUN: moe-compile %s -o %t.again.so
// RUN: cmp %t.so %t.again.so

// It ends with the digest of what comes before.
// RUN: %python -c "import hashlib, sys; b = open(sys.argv[1], 'rb').read(); assert b.endswith(hashlib.sha256(b[:-40]).digest() + b'MOE-SEAL')" %t.so

// EXPORTS: moe_artifact_manifest
// EXPORTS-NEXT: moe_entry_exchange
// EXPORTS-NEXT: moe_entry_softplus

// IMPORTS-DAG: moert_alloc
// IMPORTS-DAG: moert_symm_base
// IMPORTS-DAG: {{^}}exp{{$}}

// Only a module that uses libm depends on it; the stack is not executable.
// ELF: GNU_STACK {{.*}} RW {{ *}}0
// ELF: (NEEDED) Shared library: [libm.so.6]

// MANIFEST: {"abi_version":5,"producer":"moe-mlir {{[0-9.]+}}","target":"host","cpu":"x86-64-v3","hash":"{{[0-9a-f]+}}","ranks":2,
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<?x4xf32>, %counts: tensor<2xi32>) -> tensor<20x4xf32> {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<?x4xf32>, tensor<2xi32>) -> (tensor<20x4xf32>, tensor<2xi32>)
  return %recv : tensor<20x4xf32>
}
#id = affine_map<(i) -> (i)>
func.func private @helper(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]}
      outs(%x : tensor<?xf32>) {
  ^bb0(%a: f32):
    // Functions of f32 are in the artifact, those of f64 in libm.
    %d = arith.extf %a : f32 to f64
    %e = math.exp %d : f64
    %s = arith.truncf %e : f64 to f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}
func.func @softplus(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = call @helper(%x) : (tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}
