// RUN: moe-opt %s -split-input-file --moe-alloc-results | FileCheck %s
// RUN: moe-opt %s -split-input-file --moe-alloc-results --remarks-filter=moe-alloc-results \
// RUN:   -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK --implicit-check-not=remark:

// The extent of a result is followed to the argument it comes from.
// CHECK-LABEL: func.func @results(
// CHECK-SAME: moe.result_extents = {{\[}}[array<i64: 0, 0>, unit], [unit], [12, array<i64: 1, 1>]]
// CHECK: %[[A:.*]] = symm.alloc_result 0(%{{.*}}) : memref<?x4xf32>
// CHECK: %[[SCRATCH:.*]] = memref.alloc() : memref<8xf32>
// CHECK: %[[B:.*]] = symm.alloc_result 1 : memref<8xf32>
// CHECK: %[[C:.*]] = symm.alloc_result 2(%{{.*}}) : memref<12x?xf32>
// CHECK: memref.dealloc %[[SCRATCH]]
// CHECK: %[[CAST:.*]] = memref.cast %[[C]]
// CHECK: return %[[A]], %[[B]], %[[CAST]]
func.func @results(%x: memref<?x4xf32>, %y: memref<3x?xf32>)
    -> (memref<?x4xf32>, memref<8xf32>, memref<?x?xf32>)
    attributes {moe.entry = (tensor<?x4xf32>, tensor<3x?xf32>)
                -> (tensor<?x4xf32>, tensor<8xf32>, tensor<?x?xf32>)} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %t = memref.dim %x, %c0 : memref<?x4xf32>
  %a = memref.alloc(%t) : memref<?x4xf32>
  %scratch = memref.alloc() : memref<8xf32>
  %b = memref.alloc() : memref<8xf32>
  %h = memref.dim %y, %c1 : memref<3x?xf32>
  %between = memref.alloc(%h) : memref<5x?xf32>
  %h2 = memref.dim %between, %c1 : memref<5x?xf32>
  %c = memref.alloc(%h2) : memref<12x?xf32>
  memref.dealloc %between : memref<5x?xf32>
  memref.dealloc %scratch : memref<8xf32>
  %cast = memref.cast %c : memref<12x?xf32> to memref<?x?xf32>
  return %a, %b, %cast : memref<?x4xf32>, memref<8xf32>, memref<?x?xf32>
}

// -----

// A symmetric result asks for its memory itself.
// CHECK-LABEL: func.func @symmetric(
// CHECK-NOT: moe.result_extents
// CHECK: symm.alloc persistent result 0
// CHECK-NOT: symm.alloc_result
func.func @symmetric() -> memref<4xf32>
    attributes {moe.entry = () -> tensor<4xf32, #symm.space>} {
  %0 = symm.alloc persistent result 0 : memref<4xf32, #symm.space>
  %1 = memref.memory_space_cast %0
    : memref<4xf32, #symm.space> to memref<4xf32>
  return %1 : memref<4xf32>
}

// -----

// What is not an entry is left alone.
// CHECK-LABEL: func.func private @helper(
// CHECK: memref.alloc()
func.func private @helper() -> memref<4xf32> {
  %0 = memref.alloc() : memref<4xf32>
  return %0 : memref<4xf32>
}

// -----

// The same memory is asked for once.
// REMARK: remark: [Missed] result-memory{{.*}}result 1 is copied to memory that a caller gives: it is result 0, too
// CHECK-LABEL: func.func @twice(
// CHECK: %[[A:.*]] = symm.alloc_result 0 : memref<4xf32>
// CHECK: return %[[A]], %[[A]]
func.func @twice() -> (memref<4xf32>, memref<4xf32>)
    attributes {moe.entry = () -> (tensor<4xf32>, tensor<4xf32>)} {
  %0 = memref.alloc() : memref<4xf32>
  return %0, %0 : memref<4xf32>, memref<4xf32>
}

// -----

// REMARK: [[#@LINE+6]]:{{.*}}remark: [Missed] result-memory{{.*}}result 0 is copied to memory that a caller gives: it is an argument
// REMARK: remark: [Missed] result-memory{{.*}}result 1 is copied to memory that a caller gives: it is no allocation of the entry, but a value of several origins, a constant or a view
// REMARK: remark: [Missed] result-memory{{.*}}result 2 is copied to memory that a caller gives: it is freed
// CHECK-LABEL: func.func @others(
// CHECK-SAME: moe.result_extents = {{\[}}[array<i64: 0, 0>], [unit], [unit]]
// CHECK-NOT: symm.alloc_result
func.func @others(%x: memref<?xf32>, %c: i1)
    -> (memref<?xf32>, memref<4xf32>, memref<4xf32>)
    attributes {moe.entry = (tensor<?xf32>, tensor<i1>)
                -> (tensor<?xf32>, tensor<4xf32>, tensor<4xf32>)} {
  %a = memref.alloc() : memref<4xf32>
  %b = memref.alloc() : memref<4xf32>
  %freed = memref.alloc() : memref<4xf32>
  %some = arith.select %c, %a, %b : memref<4xf32>
  memref.dealloc %freed : memref<4xf32>
  return %x, %some, %freed : memref<?xf32>, memref<4xf32>, memref<4xf32>
}

// -----

// REMARK: remark: [Missed] result-memory{{.*}}result 0 is copied to memory that a caller gives: it is not allocated in the block that returns it
// CHECK-LABEL: func.func @other_block(
// CHECK: memref.alloc()
func.func @other_block() -> memref<4xf32>
    attributes {moe.entry = () -> tensor<4xf32>} {
  %0 = memref.alloc() : memref<4xf32>
  cf.br ^end
^end:
  return %0 : memref<4xf32>
}

// -----

// REMARK: remark: [Missed] result-memory{{.*}}result 0 is copied to memory that a caller gives: there is more than one 'func.return'
// CHECK-LABEL: func.func @two_ends(
// CHECK-COUNT-2: memref.alloc()
func.func @two_ends(%c: i1) -> memref<4xf32>
    attributes {moe.entry = (tensor<i1>) -> tensor<4xf32>} {
  cf.cond_br %c, ^one, ^other
^one:
  %0 = memref.alloc() : memref<4xf32>
  return %0 : memref<4xf32>
^other:
  %1 = memref.alloc() : memref<4xf32>
  return %1 : memref<4xf32>
}

// -----

// When @outer runs, the results of @inner are not those of the entry.
// REMARK: remark: [Missed] result-memory{{.*}}result 0 is copied to memory that a caller gives: another function of the module calls the entry
// CHECK-LABEL: func.func @inner(
// CHECK: memref.alloc()
// CHECK-LABEL: func.func @outer(
// REMARK: remark: [Missed] result-memory{{.*}}result 0 is copied to memory that a caller gives: it is no allocation of the entry, but a value of several origins, a constant or a view
func.func @inner() -> memref<4xf32>
    attributes {moe.entry = () -> tensor<4xf32>} {
  %0 = memref.alloc() : memref<4xf32>
  return %0 : memref<4xf32>
}
func.func @outer() -> memref<4xf32>
    attributes {moe.entry = () -> tensor<4xf32>} {
  %0 = call @inner() : () -> memref<4xf32>
  return %0 : memref<4xf32>
}
