// Buffers that cannot become symmetric: the op gets one of its own, and a remark
// says why.
//
// RUN: moe-opt %s --moe-place-symmetric-buffers | FileCheck %s
// RUN: moe-opt %s --moe-place-symmetric-buffers --remarks-filter=moe-place-symmetric-buffers \
// RUN:   -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK --implicit-check-not=remark:

shard.grid @ep(shape = 2)

func.func private @use(memref<6x4xf32>)

// REMARK: [[#@LINE+9]]:{{.*}}remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: it is not allocated here
// CHECK-LABEL: func.func @argument
// CHECK-SAME: %[[RECV:[a-z0-9]+]]: memref<6x4xf32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>
// CHECK: %[[SYMM:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} outs(%[[SYMM]], %{{.*}}) on @ep
// CHECK-NEXT: symm.copy_rows %[[SYMM]] to %[[RECV]] counts %[[COUNTS]] : memref<6x4xf32, #symm.space> to memref<6x4xf32> counts memref<2xi32>
// CHECK-NEXT: symm.free %[[SYMM]]
func.func @argument(%send: memref<3x4xf32>, %n: memref<2xi32>,
                    %recv: memref<6x4xf32>, %counts: memref<2xi32>) {
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  return
}

// What a combine sends from is copied before it.
// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #0 is copied to symmetric memory: it is not allocated here
// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #4 is copied to symmetric memory: it is not allocated here
// CHECK-LABEL: func.func @argument_of_combine
// CHECK-SAME: (%[[Y:[a-z0-9_]+]]: memref<6x4xf32>, {{.*}} %[[W:[a-z0-9]+]]: memref<6xf32>,
// CHECK: %[[SYMM_Y:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK-NEXT: memref.copy %[[Y]], %[[SYMM_Y]]
// CHECK-NEXT: %[[SYMM_W:[a-z0-9_]+]] = symm.alloc : memref<6xf32, #symm.space>
// CHECK-NEXT: memref.copy %[[W]], %[[SYMM_W]]
// CHECK-NEXT: moe.combine %[[SYMM_Y]], {{.*}} weights(%[[SYMM_W]])
// CHECK-NOT: memref.copy
// CHECK: return
func.func @argument_of_combine(
    %y: memref<6x4xf32>, %rows: memref<3x2xi32>, %src: memref<6xi32>,
    %n: memref<2xi32>, %w: memref<6xf32>, %out: memref<3x4xf32>) {
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 4 : i64}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>,
       memref<6xf32>, memref<3x4xf32>) -> ()
  return
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: it leaves through 'func.return'
// CHECK-LABEL: func.func @returned
// CHECK: %[[RECV:[a-z0-9_]+]] = memref.alloc() : memref<6x4xf32>
// CHECK: symm.copy_rows %{{.*}} to %[[RECV]] counts
// CHECK: return %[[RECV]]
func.func @returned(%send: memref<3x4xf32>, %n: memref<2xi32>,
                    %counts: memref<2xi32>) -> memref<6x4xf32> {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  return %recv : memref<6x4xf32>
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: it leaves through 'func.call'
// CHECK-LABEL: func.func @passed_on
// CHECK: symm.copy_rows
// CHECK: call @use
func.func @passed_on(%send: memref<3x4xf32>, %n: memref<2xi32>,
                     %counts: memref<2xi32>) {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  func.call @use(%recv) : (memref<6x4xf32>) -> ()
  memref.dealloc %recv : memref<6x4xf32>
  return
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: 'scf.for' may alias it
// CHECK-LABEL: func.func @carried_by_a_loop
// CHECK: symm.copy_rows
// CHECK: scf.for
func.func @carried_by_a_loop(%send: memref<3x4xf32>, %n: memref<2xi32>,
                             %counts: memref<2xi32>, %other: memref<6x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  %last = scf.for %i = %c0 to %c1 step %c1 iter_args(%b = %recv)
      -> memref<6x4xf32> {
    scf.yield %other : memref<6x4xf32>
  }
  memref.dealloc %recv : memref<6x4xf32>
  return
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: it is not freed in the block that allocates it
// CHECK-LABEL: func.func @not_freed
// CHECK: symm.copy_rows
func.func @not_freed(%send: memref<3x4xf32>, %n: memref<2xi32>,
                     %counts: memref<2xi32>) {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  return
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: it is not freed once, in the block that allocates it
// CHECK-LABEL: func.func @freed_in_a_branch
// CHECK: symm.copy_rows
// CHECK: memref.dealloc
func.func @freed_in_a_branch(%send: memref<3x4xf32>, %n: memref<2xi32>,
                             %counts: memref<2xi32>, %c: i1) {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  scf.if %c {
    memref.dealloc %recv : memref<6x4xf32>
  }
  return
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: it is stored in another buffer
// CHECK-LABEL: func.func @stored
// CHECK: symm.copy_rows
// CHECK: memref.store
func.func @stored(%send: memref<3x4xf32>, %n: memref<2xi32>,
                  %counts: memref<2xi32>, %table: memref<memref<6x4xf32>>) {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  memref.store %recv, %table[] : memref<memref<6x4xf32>>
  memref.dealloc %recv : memref<6x4xf32>
  return
}

// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #2 is copied from symmetric memory: {{its (size|layout) is not .*}}
// CHECK-LABEL: func.func @laid_out_otherwise
// CHECK: symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: memref.copy %{{.*}}, %{{.*}} : memref<6x4xf32, #symm.space> to memref<6x4xf32, strided<[8, 1]>>
func.func @laid_out_otherwise(%send: memref<3x4xf32>, %n: memref<2xi32>,
                              %counts: memref<2xi32>) {
  %recv = memref.alloc() : memref<6x4xf32, strided<[8, 1]>>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32, strided<[8, 1]>>,
       memref<2xi32>) -> ()
  memref.dealloc %recv : memref<6x4xf32, strided<[8, 1]>>
  return
}

// A view may begin anywhere in an argument, and so at another place on each rank.
// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #0 is copied to symmetric memory: it is not allocated here
// CHECK-LABEL: func.func @view_of_an_argument
// CHECK: %[[VIEW:[a-z0-9_]+]] = memref.view
// CHECK: %[[STAGED:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: memref.copy %[[VIEW]], %[[STAGED]]
// CHECK: moe.combine %[[STAGED]],
func.func @view_of_an_argument(%bytes: memref<96xi8> {moe.symmetric}, %shift: index,
    %rows: memref<3x2xi32>, %src: memref<6xi32>, %n: memref<2xi32>, %out: memref<3x4xf32>) {
  %y = memref.view %bytes[%shift][] : memref<96xi8> to memref<6x4xf32>
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 4 : i64}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>, memref<3x4xf32>) -> ()
  return
}
