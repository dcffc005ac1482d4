// A table of the device comes to host memory; without a device it is there.
//
// RUN: moe-opt %s --convert-coll-to-llvm=target=cuda | FileCheck %s
// RUN: moe-opt %s --convert-coll-to-llvm | FileCheck %s --check-prefix=HOST
// RUN: not moe-opt %s --convert-coll-to-llvm=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: convert-coll-to-llvm expects 'target' to be host or cuda (tpu)

// The memory is that of the function, also where it is read in a loop (coll_s7).
// CHECK-LABEL: func.func @read
// CHECK: %[[COUNT:.*]] = llvm.mlir.constant(32 : i64)
// CHECK: %[[SLOT:.*]] = llvm.alloca %[[COUNT]] x i32
// CHECK: scf.for
// CHECK: %[[BYTES:.*]] = llvm.mlir.constant(128 : i64)
// CHECK: %[[FROM:.*]] = llvm.extractvalue %{{.*}}[1]
// CHECK: llvm.call @moert_read(%[[SLOT]], %[[FROM]], %[[BYTES]])
// CHECK: llvm.call @moert_exchange_rows(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}})
// HOST-LABEL: func.func @read
// HOST-NOT: moert_read
// HOST: llvm.call @moert_exchange_rows
func.func @read(%table: memref<4x8xi32>, %x: memref<?x64xf32>,
                %y: memref<512x64xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %host = coll.read %table : memref<4x8xi32>
    %starts = memref.subview %host[0, 0] [1, 8] [1, 1]
      : memref<4x8xi32> to memref<8xi32, strided<[1]>>
    coll.exchange {
      coll.rows %x[%starts, %starts] to %y[%starts, %starts]
        : memref<?x64xf32> to memref<512x64xf32> by memref<8xi32, strided<[1]>>
    }
  }
  return
}
