// The options for kernels reach them, and are refused where there are none.
//
// RUN: moe-compile %s --target cuda --emit=ptx --transfer=stores --threads=256 | FileCheck %s --check-prefix=THREADS
// THREADS: .maxntid 256, 1, 1
// RUN: moe-compile %s --target cuda --report=json --blocks=16 --threads=128 --transfer=stores --team=2 | FileCheck %s --check-prefix=PINNED
// PINNED: "kernel": {
// PINNED-NEXT: "blocks": 16,
// PINNED-NEXT: "threads": 128,
// PINNED-NEXT: "transfer": "stores",
// PINNED-NEXT: "team": 2
// PINNED-NEXT: }
// RUN: moe-compile %s --target cuda --report --transfer=stores --threads=64 --team=8 --remarks=moe-plan 2>&1 | FileCheck %s --check-prefix=TABLE
// TABLE: remark: [Missed] kernel{{.*}}Function=exchange{{.*}}alltoallv has rows that move in 2 pieces, not 8: as many as blocks of 2 subgroups and rows of 16384 bytes allow
// TABLE: remark: [Passed] kernel{{.*}}Function=exchange{{.*}}alltoallv moves rows by stores: asked for by 'transfer' (32 blocks of 64 threads, team 2)
// TABLE: op location rows row bytes symmetric bytes wire bytes kernel
// TABLE-NEXT: moe.alltoallv {{.*}} 32 x 64 stores, team 2
// RUN: moe-compile %s --report | FileCheck %s --check-prefix=HOST
// HOST: op location rows row bytes symmetric bytes wire bytes{{$}}

// RUN: not moe-compile %s --blocks=16 -o %t.so 2>&1 | FileCheck %s --check-prefix=BLOCKS
// BLOCKS: moe-compile: error: option 'blocks' is for target cuda ('host' given)
// RUN: not moe-compile %s --stages=2 -o %t.so 2>&1 | FileCheck %s --check-prefix=STAGES
// STAGES: moe-compile: error: option 'stages' is for target cuda ('host' given)
// RUN: not moe-compile %s --gpu-format=ptx -o %t.so 2>&1 | FileCheck %s --check-prefix=FORMAT
// FORMAT: moe-compile: error: option 'gpu-format' is for target cuda ('host' given)
// RUN: not moe-compile %s --emit=cubin -o %t.so 2>&1 | FileCheck %s --check-prefix=CUBIN
// CUBIN: moe-compile: error: target 'host' has no cubin
// RUN: not moe-compile %s --target cuda --gpu-format=elf -o %t.so 2>&1 | FileCheck %s --check-prefix=ELF
// ELF: moe-compile: error: unknown format of kernels 'elf'; expected ptx or cubin
// RUN: not moe-compile %s --target cuda:sm_80 --transfer=bulk -o %t.so 2>&1 | FileCheck %s --check-prefix=BULK
// BULK: error: moe-plan expects 'transfer' to be auto or stores with chip sm_80 (bulk)
// RUN: not moe-compile %s --target cuda --emit=cubin -o %t.so --ptxas=%t.none 2>&1 | FileCheck %s --check-prefix=GIVEN
// GIVEN: moe-compile: error: a cubin needs ptxas of the CUDA toolkit, which was not found ('{{.*}}.none')
// RUN: env PATH=%t CUDA_HOME=%t not moe-compile %s --target cuda --gpu-format=cubin -o %t.so 2>&1 | FileCheck %s --check-prefix=SEARCHED
// SEARCHED: moe-compile: error: a cubin needs ptxas of the CUDA toolkit, which was not found ('ptxas' in PATH, '{{.*}}/bin/ptxas' (CUDA_HOME))
// RUN: env PATH=%t CUDA_HOME= not moe-opt %s --moe-to-cuda=gpu-format=cubin 2>&1 | FileCheck %s --check-prefix=PASS
// PASS: error: a cubin needs the assembler of the CUDA toolkit, which was not found ('ptxas' in PATH; CUDA_HOME is not set)
// Without it there is no table of registers, and nothing else is different.
// RUN: env PATH=%t CUDA_HOME= moe-compile %s --target cuda --report | FileCheck %s --check-prefix=NONE --implicit-check-not=registers
// NONE: artifact:
shard.grid @ep(shape = 4)
func.func @exchange(%x: tensor<16x4096xf32>, %n: tensor<4xi32>) -> tensor<64x4096xf32> {
  %r, %m = moe.alltoallv %x, %n on @ep
    : (tensor<16x4096xf32>, tensor<4xi32>) -> (tensor<64x4096xf32>, tensor<4xi32>)
  return %r : tensor<64x4096xf32>
}
