// With the assembler: kernels as code of one chip, and what they need.
// REQUIRES: ptxas
// RUN: moe-compile %s --target cuda:sm_80 --ptxas=%ptxas --emit=cubin -o %t.cubin
// RUN: llvm-readelf -h -s %t.cubin | FileCheck %s --check-prefix=ELF
// ELF: Class: ELF64
// ELF: FUNC GLOBAL {{.*}} exchange_kernel
// RUN: moe-compile %s --target cuda:sm_80 --ptxas=%ptxas --gpu-format=cubin -o %t.so
// RUN: llvm-strings %t.so | FileCheck %s --check-prefix=MANIFEST
// MANIFEST: "gpu":{"bytes":{{[1-9][0-9]+}},"chip":"sm_80","format":"cubin"}
// The artifact holds the same bytes.
// RUN: moe-compile %s --target cuda:sm_80 --ptxas=%ptxas --gpu-format=cubin --emit=cubin -o %t.again.cubin
// RUN: cmp %t.cubin %t.again.cubin
// RUN: %python -c "import sys; a, b = (open(p, 'rb').read() for p in sys.argv[1:]); assert b in a" %t.so %t.cubin
// PTX is PTX, whatever the artifact holds.
// RUN: moe-compile %s --target cuda:sm_80 --ptxas=%ptxas --gpu-format=cubin --emit=ptx | FileCheck %s --check-prefix=PTX
// PTX: .target sm_80

// RUN: moe-compile %s --target cuda --ptxas=%ptxas --report | FileCheck %s --check-prefix=TABLE
// TABLE: kernel location registers spill bytes local bytes shared bytes
// TABLE-NEXT: exchange_kernel moe-compile-cubin.mlir:{{[0-9]+:[0-9]+}} {{[1-9][0-9]*}} 0 0 {{[0-9]+}}
// RUN: moe-compile %s --target cuda --ptxas=%ptxas --report=json | FileCheck %s --check-prefix=JSON
// JSON: "kernels": [
// JSON: "name": "exchange_kernel",
// JSON-NEXT: "location": "moe-compile-cubin.mlir:{{[0-9]+:[0-9]+}}",
// JSON-NEXT: "registers": {{[1-9][0-9]*}},
// JSON-NEXT: "spill_bytes": 0,
// JSON-NEXT: "local_bytes": 0,
// JSON-NEXT: "shared_bytes":

// What the assembler has to say reaches the user.
// RUN: echo '#!/bin/sh' > %t.sh
// RUN: echo 'echo no license; exit 3' >> %t.sh
// RUN: chmod +x %t.sh
// RUN: not moe-compile %s --target cuda --ptxas=%t.sh --emit=cubin -o %t.none 2>&1 | FileCheck %s --check-prefix=FAILED
// FAILED: error: '{{.*}}.sh' failed (3): no license
// RUN: not ls %t.none
shard.grid @ep(shape = 4)
func.func @exchange(%x: tensor<16x64xf32>, %n: tensor<4xi32>) -> tensor<64x64xf32> {
  %r, %m = moe.alltoallv %x, %n on @ep
    : (tensor<16x64xf32>, tensor<4xi32>) -> (tensor<64x64xf32>, tensor<4xi32>)
  return %r : tensor<64x64xf32>
}
