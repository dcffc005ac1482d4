// The assembler takes the kernels and puts no register in memory.
// REQUIRES: ptxas
// RUN: moe-compile %moe_src/test/Target/moe-compile-cuda.mlir --target cuda:sm_90 --emit=ptx -o %t.90.ptx
// RUN: %ptxas -arch=sm_90 -v %t.90.ptx -o /dev/null 2>&1 | FileCheck %s -DCHIP=sm_90 --implicit-check-not="{{[1-9][0-9]*}} bytes spill"
// RUN: moe-compile %moe_src/test/Target/moe-compile-cuda.mlir --target cuda:sm_80 --emit=ptx -o %t.80.ptx
// RUN: %ptxas -arch=sm_80 -v %t.80.ptx -o /dev/null 2>&1 | FileCheck %s -DCHIP=sm_80 --implicit-check-not="{{[1-9][0-9]*}} bytes spill"

// CHECK-DAG: Compiling entry function 'round_trip_kernel' for '[[CHIP]]'
// CHECK-DAG: Compiling entry function 'round_trip_kernel_0' for '[[CHIP]]'
// CHECK-DAG: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
