// What passes of upstream may and may not do with symm ops.
// RUN: moe-opt %s --cse --canonicalize | FileCheck %s

// Two persistent buffers that look the same are two buffers.
// CHECK-LABEL: func.func @persistent_buffers_are_distinct(
func.func @persistent_buffers_are_distinct(%v: i64, %i: index) {
  // CHECK-COUNT-2: symm.alloc persistent
  %a = symm.alloc persistent : memref<4xi64, #symm.space>
  %b = symm.alloc persistent : memref<4xi64, #symm.space>
  symm.barrier %a, %v : memref<4xi64, #symm.space>
  symm.barrier %b, %v : memref<4xi64, #symm.space>
  return
}

// CHECK-LABEL: func.func @rank_is_pure(
func.func @rank_is_pure() -> (index, index) {
  // CHECK: %[[RANK:.*]] = symm.rank
  // CHECK-NEXT: return %[[RANK]], %[[RANK]]
  %a = symm.rank
  %b = symm.rank
  return %a, %b : index, index
}

// A load may not move over a wait: the peer writes the memory in between.
// CHECK-LABEL: func.func @wait_orders_loads(
func.func @wait_orders_loads(%i: index, %v: i64) -> (i32, i32) {
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  %data = symm.alloc : memref<4xi32, #symm.space>
  // CHECK: %[[BEFORE:.*]] = memref.load
  // CHECK: symm.wait
  // CHECK: %[[AFTER:.*]] = memref.load
  // CHECK: return %[[BEFORE]], %[[AFTER]]
  %a = memref.load %data[%i] : memref<4xi32, #symm.space>
  symm.wait %flags[%i] from %i, %v : memref<4xi64, #symm.space>
  %b = memref.load %data[%i] : memref<4xi32, #symm.space>
  return %a, %b : i32, i32
}

// Nothing reads what is put here, and it stays: another rank does.
// CHECK-LABEL: func.func @puts_stay(
func.func @puts_stay(%x: memref<4xi32>, %i: index, %v: i64) {
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  %data = symm.alloc : memref<4xi32, #symm.space>
  // CHECK: symm.put
  // CHECK: symm.signal
  // CHECK: symm.next_epoch
  symm.put %x[%i] to %data[%i] at %i : memref<4xi32> to memref<4xi32, #symm.space>
  symm.signal %flags[%i] at %i, %v : memref<4xi64, #symm.space>
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %epoch = symm.next_epoch %counter : memref<1xi64, #symm.space>
  return
}
