// RUN: moe-opt %s --convert-symm-to-llvm | FileCheck %s
// RUN: moe-opt %s --convert-symm-to-llvm --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// Where the assertion does not hold the entry ends; the process goes on.
// CHECK-DAG: llvm.mlir.global internal constant @[[$TEXT:.*]]("v is 0\00")
// CHECK-DAG: llvm.mlir.global internal constant @[[$PLACE:.*]]("assert.mlir:[[#@LINE+13]]:3\00")
// CHECK-DAG: llvm.func @moert_assertion_failed(!llvm.ptr, !llvm.ptr) attributes {passthrough = ["cold", "noreturn"]}
// CHECK-LABEL: func.func @check(
// CHECK-SAME: %[[OK:.*]]: i1
// CHECK: %[[BAD:.*]] = arith.xori %[[OK]], %true
// CHECK: scf.if %[[BAD]] {
// CHECK: %[[P:.*]] = llvm.mlir.addressof @[[$PLACE]]
// CHECK: %[[T:.*]] = llvm.mlir.addressof @[[$TEXT]]
// CHECK: llvm.call @moert_assertion_failed(%[[P]], %[[T]])
// CHECK-NOT: cf.assert
// LOC: llvm.call @moert_assertion_failed({{.*}}) : (!llvm.ptr, !llvm.ptr) -> () loc(#[[LOC:.*]])
// LOC: #[[LOC]] = loc("{{.*}}assert.mlir":[[#@LINE+2]]:3)
func.func @check(%ok: i1) {
  cf.assert %ok, "v is 0"
  return
}
