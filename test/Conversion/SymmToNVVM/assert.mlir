// RUN: moe-opt %s --convert-symm-to-nvvm | FileCheck %s

// Assertions have sites after those of collectives, here 0.
// CHECK: module attributes {gpu.container_module, symm.device_strings = ["in range"], symm.sites = [{location = "assert.mlir:[[#@LINE+29]]:7", op = "cf.assert"}]}
// CHECK: gpu.func @checked(%[[I:.*]]: index, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %[[STATUS:.*]]: !llvm.ptr)
// Nobody works on what an earlier kernel has found to be wrong.
// CHECK: %[[RECORD:.*]] = llvm.addrspacecast %[[STATUS]]
// CHECK: %[[CODE:.*]] = llvm.load volatile %[[RECORD]]
// CHECK: %[[FAILED:.*]] = arith.cmpi ne, %[[CODE]]
// CHECK: scf.if %[[FAILED]] {
// CHECK-NEXT: nvvm.exit
// CHECK: %[[OK:.*]] = arith.cmpi ult, %[[I]]
// CHECK: %[[BAD:.*]] = arith.xori %[[OK]]
// CHECK: scf.if %[[BAD]] {
// CHECK: llvm.call @symm_record(%[[RECORD]], %c13_i32, %c1_i32, %c-1_i32, %c0_i32
// CHECK: nvvm.exit
// CHECK: gpu.return

// A kernel without assertions looks for errors as well.
// CHECK: gpu.func @next(
// CHECK: scf.if
// CHECK-NEXT: nvvm.exit
// CHECK-NOT: symm_record
// CHECK: gpu.return

// CHECK-LABEL: func.func @host(
// CHECK: gpu.launch_func @kernels::@checked {{.*}} args(%{{.*}} : index, %{{.*}} : i64, %{{.*}} : i64, %{{.*}} : i64, %{{.*}} : !llvm.ptr)
module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @checked(%i: index) kernel {
      %c8 = arith.constant 8 : index
      %ok = arith.cmpi ult, %i, %c8 : index
      cf.assert %ok, "in range"
      gpu.return
    }
    gpu.func @next(%i: index) kernel {
      gpu.return
    }
  }
  func.func @host(%i: index) {
    symm.collective_begin "moe.dispatch" site 0
    symm.collective_end
    gpu.launch_func @kernels::@checked blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%i : index)
    gpu.launch_func @kernels::@next blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%i : index)
    return
  }
}
