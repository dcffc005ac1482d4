// RUN: moe-opt %s --convert-symm-to-llvm --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s

// Everything an op becomes carries its location.
// CHECK-LABEL: func.func @locations(
func.func @locations(%x: memref<4xi64>, %i: index, %v: i64, %ok: i1) {
  // CHECK: llvm.call @moert_symm_base() : () -> !llvm.ptr loc("alloc")
  %a = symm.alloc at 0 : memref<4xi64, #symm.space> loc("alloc")
  // CHECK: "llvm.intr.memcpy"{{.*}} loc("put")
  symm.put %x[%i] to %a[%i] at %i : memref<4xi64> to memref<4xi64, #symm.space> loc("put")
  // CHECK: llvm.store {{.*}} atomic release {{.*}} loc("signal")
  symm.signal %a[%i] at %i, %v : memref<4xi64, #symm.space> loc("signal")
  // CHECK: llvm.call @moert_wait{{.*}} loc("wait")
  symm.wait %a[%i] from %i, %v : memref<4xi64, #symm.space> loc("wait")
  // CHECK: scf.for
  // CHECK: llvm.store {{.*}} atomic release {{.*}} loc("barrier")
  // CHECK: } loc("barrier")
  // CHECK: llvm.call @moert_wait{{.*}} loc("barrier")
  symm.barrier %a, %v : memref<4xi64, #symm.space> loc("barrier")
  // CHECK: llvm.call @moert_fail{{.*}} loc("check")
  // CHECK: } loc("check")
  symm.check %ok, invalid_count, "count" expected %v seen %v loc("check")
  // CHECK: llvm.call @moert_phase{{.*}} loc("phase")
  symm.phase "put" loc("phase")
  // CHECK-NOT: loc(unknown)
  return
}
