// RUN: moe-opt %s --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @memory(
func.func @memory(%r: index) {
  // CHECK: %[[ROWS:.*]] = symm.alloc : memref<512x64xbf16, #symm.space>
  %rows = symm.alloc : memref<512x64xbf16, #symm.space>
  // CHECK: symm.alloc persistent : memref<4xi64, #symm.space>
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  // CHECK: symm.alloc at 512 : memref<8xi8, #symm.space>
  %placed = symm.alloc at 512 : memref<8xi8, #symm.space>
  // CHECK: symm.alloc persistent at 0 : memref<1xi64, #symm.space>
  %both = symm.alloc persistent at 0 : memref<1xi64, #symm.space>
  // CHECK: symm.alloc persistent result 2 : memref<8xf32, #symm.space>
  %result = symm.alloc persistent result 2 : memref<8xf32, #symm.space>
  // CHECK: symm.alloc persistent result 0 at 256 : memref<8xf32, #symm.space>
  %placed_result = symm.alloc persistent result 0 at 256
    : memref<8xf32, #symm.space>
  // CHECK: symm.peer %[[ROWS]] at %{{.*}} : memref<512x64xbf16, #symm.space>
  %peer = symm.peer %rows at %r : memref<512x64xbf16, #symm.space>
  // CHECK: symm.free %[[ROWS]] : memref<512x64xbf16, #symm.space>
  symm.free %rows : memref<512x64xbf16, #symm.space>
  return
}

// CHECK-LABEL: func.func @results(
func.func @results(%t: index) {
  // CHECK: symm.alloc_result 0 : memref<f32>
  %scalar = symm.alloc_result 0 : memref<f32>
  // CHECK: symm.alloc_result 1(%{{.*}}, %{{.*}}) : memref<?x4x?xbf16>
  %rows = symm.alloc_result 1(%t, %t) : memref<?x4x?xbf16>
  return
}

// CHECK-LABEL: func.func @copy_rows(
func.func @copy_rows(%x: memref<8x4xf32, #symm.space>,
                     %i: memref<8xi32, #symm.space>, %to: memref<8x4xf32>,
                     %ids: memref<8xi32, strided<[1], offset: 3>>,
                     %n: memref<2xi32>, %o: memref<2xi32>) {
  // CHECK: symm.copy_rows %{{.*}}, %{{.*}} to %{{.*}}, %{{.*}} counts %{{.*}} : memref<8x4xf32, #symm.space>, memref<8xi32, #symm.space> to memref<8x4xf32>, memref<8xi32, strided<[1], offset: 3>> counts memref<2xi32>
  symm.copy_rows %x, %i to %to, %ids counts %n
    : memref<8x4xf32, #symm.space>, memref<8xi32, #symm.space>
   to memref<8x4xf32>, memref<8xi32, strided<[1], offset: 3>>
      counts memref<2xi32>
  // CHECK: symm.copy_rows %{{.*}} to %{{.*}} counts %{{.*}} at %{{.*}} : memref<8x4xf32, #symm.space> to memref<8x4xf32> counts memref<2xi32> at memref<2xi32>
  symm.copy_rows %x to %to counts %n at %o
    : memref<8x4xf32, #symm.space> to memref<8x4xf32>
      counts memref<2xi32> at memref<2xi32>
  // CHECK: symm.copy_rows %{{.*}} to %{{.*}} counts %{{.*}} every 4 : memref<8x4xf32, #symm.space> to memref<8x4xf32> counts memref<2xi32>
  symm.copy_rows %x to %to counts %n every 4
    : memref<8x4xf32, #symm.space> to memref<8x4xf32> counts memref<2xi32>
  return
}

// CHECK-LABEL: func.func @put(
func.func @put(%x: memref<?x64xbf16>,
               %strided: memref<4x64xbf16, strided<[64, 1], offset: ?>>,
               %counts: memref<4xi32>, %i: index, %n: index) {
  %me = symm.rank
  %recv = symm.alloc : memref<512x64xbf16, #symm.space>
  %all = symm.alloc : memref<16xi32, #symm.space>
  // CHECK: symm.put %{{.*}}[%{{.*}}] to %{{.*}}[%{{.*}}] at %{{.*}} : memref<?x64xbf16> to memref<512x64xbf16, #symm.space>
  symm.put %x[%i] to %recv[%i] at %me
    : memref<?x64xbf16> to memref<512x64xbf16, #symm.space>
  // CHECK: symm.put %{{.*}}[%{{.*}}] to %{{.*}}[%{{.*}}] at %{{.*}} count %{{.*}} : memref<4x64xbf16, strided<[64, 1], offset: ?>> to memref<512x64xbf16, #symm.space>
  symm.put %strided[%i] to %recv[%i] at %me count %n
    : memref<4x64xbf16, strided<[64, 1], offset: ?>>
   to memref<512x64xbf16, #symm.space>
  // CHECK: symm.put {{.*}} : memref<4xi32> to memref<16xi32, #symm.space>
  symm.put %counts[%i] to %all[%i] at %me count %n
    : memref<4xi32> to memref<16xi32, #symm.space>
  return
}

// CHECK-LABEL: func.func @synchronisation(
func.func @synchronisation(%i: index) {
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  // CHECK: %[[EPOCH:.*]] = symm.next_epoch %{{.*}} : memref<1xi64, #symm.space>
  %epoch = symm.next_epoch %counter : memref<1xi64, #symm.space>
  // CHECK: symm.signal %[[FLAGS:.*]][%{{.*}}] at %{{.*}}, %[[EPOCH]] : memref<4xi64, #symm.space>
  symm.signal %flags[%i] at %i, %epoch : memref<4xi64, #symm.space>
  // CHECK: symm.signal %[[FLAGS]][%{{.*}}] at %{{.*}}, %[[EPOCH]] relaxed : memref<4xi64, #symm.space>
  symm.signal %flags[%i] at %i, %epoch relaxed : memref<4xi64, #symm.space>
  // CHECK: symm.wait %[[FLAGS]][%{{.*}}] from %{{.*}}, %[[EPOCH]] : memref<4xi64, #symm.space>
  symm.wait %flags[%i] from %i, %epoch : memref<4xi64, #symm.space>
  // CHECK: %[[SEEN:.*]] = symm.wait %[[FLAGS]][%{{.*}}] from %{{.*}}, %[[EPOCH]] : memref<4xi64, #symm.space> -> i64
  %seen = symm.wait %flags[%i] from %i, %epoch : memref<4xi64, #symm.space> -> i64
  // CHECK: arith.cmpi uge, %[[SEEN]], %[[EPOCH]]
  %is_there = arith.cmpi uge, %seen, %epoch : i64
  // CHECK: symm.barrier %[[FLAGS]], %[[EPOCH]] : memref<4xi64, #symm.space>
  symm.barrier %flags, %epoch : memref<4xi64, #symm.space>
  return
}

// CHECK-LABEL: func.func @errors(
func.func @errors(%ok: i1, %max: i64, %seen: i64, %peer: index) {
  // CHECK: symm.collective_begin "moe.dispatch" site 0
  symm.collective_begin "moe.dispatch" site 0
  // CHECK: symm.phase "count"
  symm.phase "count"
  // CHECK: symm.check %{{.*}}, invalid_expert, "expert id" expected %{{.*}} seen %{{.*}}
  symm.check %ok, invalid_expert, "expert id" expected %max seen %seen
  // CHECK: symm.check %{{.*}}, capacity_exceeded, "rows" expected %{{.*}} seen %{{.*}} peer %{{.*}}
  symm.check %ok, capacity_exceeded, "rows" expected %max seen %seen peer %peer
  // CHECK: symm.check %{{.*}}, invalid_expert, "expert id" expected %{{.*}} at_least %{{.*}} seen %{{.*}} token %{{.*}} slot %{{.*}} peer %{{.*}}
  symm.check %ok, invalid_expert, "expert id" expected %max at_least %seen seen %seen token %peer slot %peer peer %peer
  // CHECK: symm.check %{{.*}}, invalid_count, "count"
  symm.check %ok, invalid_count, "count" expected %max seen %seen
  // CHECK: symm.check %{{.*}}, invalid_argument, "tokens"
  symm.check %ok, invalid_argument, "tokens" expected %max seen %seen
  // CHECK: symm.collective_end
  symm.collective_end
  return
}
