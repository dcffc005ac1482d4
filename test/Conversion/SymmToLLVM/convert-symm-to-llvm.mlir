// RUN: moe-opt %s -split-input-file --convert-symm-to-llvm | FileCheck %s

// The buffer is at a constant offset of the workspace; nothing of the memory
// space is left.
// CHECK-DAG: llvm.func @moert_symm_base() -> !llvm.ptr {{.*}}memory_effects = #llvm.memory_effects<other = none
// CHECK-LABEL: func.func @alloc(
func.func @alloc(%i: index) -> i32 {
  // CHECK: %[[OFFSET:.*]] = llvm.mlir.constant(512 : i64)
  // CHECK: %[[BASE:.*]] = llvm.call @moert_symm_base()
  // CHECK: %[[PTR:.*]] = llvm.getelementptr %[[BASE]][%[[OFFSET]]] : (!llvm.ptr, i64) -> !llvm.ptr, i8
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[0]
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[1]
  // CHECK: %[[MEMREF:.*]] = builtin.unrealized_conversion_cast %{{.*}} to memref<4xi32>
  %0 = symm.alloc at 512 : memref<4xi32, #symm.space>
  // CHECK: memref.load %[[MEMREF]][%{{.*}}] : memref<4xi32>
  %1 = memref.load %0[%i] : memref<4xi32, #symm.space>
  // CHECK-NOT: symm.free
  symm.free %0 : memref<4xi32, #symm.space>
  return %1 : i32
}

// -----

// A result may lie in memory of the caller's: the runtime says where. The offset
// is where it lies otherwise.
// CHECK-DAG: llvm.func @moert_symm_result(i64, i64, i64) -> !llvm.ptr {{.*}}memory_effects = #llvm.memory_effects<other = none
// CHECK-LABEL: func.func @symmetric_result(
func.func @symmetric_result() -> memref<4x2xbf16, #symm.space> {
  // CHECK-DAG: %[[OFFSET:.*]] = llvm.mlir.constant(512 : i64)
  // CHECK-DAG: %[[BYTES:.*]] = llvm.mlir.constant(16 : i64)
  // CHECK-DAG: %[[INDEX:.*]] = llvm.mlir.constant(3 : i64)
  // CHECK: %[[PTR:.*]] = llvm.call @moert_symm_result(%[[INDEX]], %[[OFFSET]], %[[BYTES]])
  // CHECK-NOT: moert_symm_base
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[0]
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[1]
  %0 = symm.alloc persistent result 3 at 512 : memref<4x2xbf16, #symm.space>
  return %0 : memref<4x2xbf16, #symm.space>
}

// -----

// So may an ordinary one; sizes are exact, since the runtime compares them.
// CHECK-DAG: llvm.func @moert_alloc_result(i64, i64, i64) -> (!llvm.ptr {llvm.noalias})
// CHECK-LABEL: func.func @result(
// CHECK-SAME: %[[T:.*]]: index)
func.func @result(%t: index) -> memref<?x3xbf16> {
  // CHECK: %[[N:.*]] = builtin.unrealized_conversion_cast %[[T]] : index to i64
  // CHECK: %[[ELEMENTS:.*]] = llvm.mul %{{.*}}, %[[N]]
  // CHECK: %[[NULL:.*]] = llvm.mlir.zero : !llvm.ptr
  // CHECK: %[[END:.*]] = llvm.getelementptr %[[NULL]][%[[ELEMENTS]]] : (!llvm.ptr, i64) -> !llvm.ptr, bf16
  // CHECK: %[[BYTES:.*]] = llvm.ptrtoint %[[END]]
  // CHECK-DAG: %[[INDEX:.*]] = llvm.mlir.constant(1 : i64)
  // CHECK-DAG: %[[ALIGNMENT:.*]] = llvm.mlir.constant(64 : i64)
  // CHECK: %[[PTR:.*]] = llvm.call @moert_alloc_result(%[[INDEX]], %[[BYTES]], %[[ALIGNMENT]])
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[0]
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[1]
  %0 = symm.alloc_result 1(%t) : memref<?x3xbf16>
  return %0 : memref<?x3xbf16>
}

// -----

// A peer's copy is (rank - me) strides away.
// CHECK-LABEL: func.func @peer(
// CHECK-SAME: %[[BUFFER:.*]]: memref<4xi32>, %[[RANK:.*]]: index)
func.func @peer(%b: memref<4xi32, #symm.space>, %r: index) -> memref<4xi32, #symm.space> {
  // CHECK-DAG: %[[R:.*]] = builtin.unrealized_conversion_cast %[[RANK]] : index to i64
  // CHECK-DAG: %[[ME:.*]] = llvm.call @moert_rank()
  // CHECK-DAG: %[[STRIDE:.*]] = llvm.call @moert_symm_stride()
  // CHECK: %[[DISTANCE:.*]] = llvm.sub %[[R]], %[[ME]]
  // CHECK: %[[BYTES:.*]] = llvm.mul %[[DISTANCE]], %[[STRIDE]]
  // CHECK: %[[PTR:.*]] = llvm.getelementptr %{{.*}}[%[[BYTES]]] : (!llvm.ptr, i64) -> !llvm.ptr, i8
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[0]
  // CHECK: llvm.insertvalue %[[PTR]], %{{.*}}[1]
  %0 = symm.peer %b at %r : memref<4xi32, #symm.space>
  return %0 : memref<4xi32, #symm.space>
}

// -----

// Without a count the length is a constant: 64 times 2 bytes.
// CHECK-LABEL: func.func @put(
func.func @put(%x: memref<?x64xbf16>, %y: memref<8x64xbf16, #symm.space>,
               %from: index, %to: index, %r: index) {
  // CHECK: %[[LENGTH:.*]] = llvm.mlir.constant(128 : i64)
  // CHECK: "llvm.intr.memcpy"(%{{.*}}, %{{.*}}, %[[LENGTH]]) <{isVolatile = false}>
  symm.put %x[%from] to %y[%to] at %r : memref<?x64xbf16> to memref<8x64xbf16, #symm.space>
  return
}

// -----

// CHECK-LABEL: func.func @put_count(
// CHECK-SAME: %[[X:.*]]: memref<8xf8E5M2, strided<[1], offset: ?>>, %[[Y:.*]]: memref<8xf8E5M2>
// CHECK-SAME: %[[N:[a-z0-9]+]]: index)
func.func @put_count(%x: memref<8xf8E5M2, strided<[1], offset: ?>>,
                     %y: memref<8xf8E5M2, #symm.space>, %i: index, %r: index,
                     %n: index) {
  // CHECK: %[[COUNT:.*]] = builtin.unrealized_conversion_cast %[[N]] : index to i64
  // The source starts at its offset.
  // CHECK: llvm.extractvalue %{{.*}}[2]
  // CHECK: llvm.getelementptr %{{.*}} -> !llvm.ptr, i8
  // CHECK: %[[LENGTH:.*]] = llvm.mul %[[COUNT]], %{{.*}}
  // CHECK-NEXT: "llvm.intr.memcpy"(%{{.*}}, %{{.*}}, %[[LENGTH]])
  symm.put %x[%i] to %y[%i] at %r count %n
    : memref<8xf8E5M2, strided<[1], offset: ?>> to memref<8xf8E5M2, #symm.space>
  return
}

// -----

// CHECK-LABEL: func.func @signal(
func.func @signal(%flags: memref<4xi64, #symm.space>, %i: index, %r: index, %v: i64) {
  // CHECK: llvm.call @moert_symm_stride()
  // CHECK: %[[REMOTE:.*]] = llvm.getelementptr {{.*}} i8
  // CHECK-NEXT: llvm.store %{{.*}}, %[[REMOTE]] atomic release {alignment = 8 : i64} : i64, !llvm.ptr
  symm.signal %flags[%i] at %r, %v : memref<4xi64, #symm.space>
  return
}

// -----

// CHECK-LABEL: func.func @wait(
// CHECK-SAME: %[[I:[a-z0-9]+]]: index, %[[R:[a-z0-9]+]]: index, %[[V:[a-z0-9]+]]: i64)
func.func @wait(%flags: memref<4xi64, #symm.space>, %i: index, %r: index, %v: i64) {
  // CHECK: %[[PEER:.*]] = builtin.unrealized_conversion_cast %[[R]] : index to i64
  // CHECK: %[[INDEX:.*]] = builtin.unrealized_conversion_cast %[[I]] : index to i64
  // CHECK: %[[ELEMENT:.*]] = llvm.mul %[[INDEX]]
  // CHECK: %[[WORD:.*]] = llvm.getelementptr %{{.*}}[%[[ELEMENT]]] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  // CHECK: llvm.call @moert_wait(%[[WORD]], %[[V]], %[[PEER]]) : (!llvm.ptr, i64, i64) -> ()
  symm.wait %flags[%i] from %r, %v : memref<4xi64, #symm.space>
  return
}

// A wait that returns has seen the value: it can be loaded once more.
// CHECK-LABEL: func.func @wait_and_see
func.func @wait_and_see(%flags: memref<4xi64, #symm.space>, %i: index, %r: index, %v: i64) -> i64 {
  // CHECK: llvm.call @moert_wait(%[[WORD:.*]], %{{.*}}, %{{.*}})
  // CHECK-NEXT: %[[SEEN:.*]] = llvm.load %[[WORD]] atomic acquire {alignment = 8 : i64} : !llvm.ptr -> i64
  // CHECK: return %[[SEEN]]
  %seen = symm.wait %flags[%i] from %r, %v : memref<4xi64, #symm.space> -> i64
  return %seen : i64
}

// -----

// All signals come before all waits; each rank starts with itself.
// CHECK-LABEL: func.func @barrier(
func.func @barrier(%flags: memref<3xi64, #symm.space>, %v: i64) {
  // CHECK-DAG: %[[RANKS:.*]] = arith.constant 3 : index
  // CHECK: %[[ME:.*]] = llvm.call @moert_rank()
  // CHECK: scf.for %[[I:.*]] = %{{.*}} to %[[RANKS]]
  // CHECK: %[[SUM:.*]] = arith.addi %{{.*}}, %[[I]]
  // CHECK: %[[REST:.*]] = arith.subi %[[SUM]], %[[RANKS]]
  // CHECK: %[[WRAPS:.*]] = arith.cmpi uge, %[[SUM]], %[[RANKS]]
  // CHECK: arith.select %[[WRAPS]], %[[REST]], %[[SUM]]
  // CHECK: llvm.store {{.*}} atomic release
  // CHECK-NOT: moert_wait
  // CHECK: scf.for
  // CHECK: llvm.call @moert_wait
  symm.barrier %flags, %v : memref<3xi64, #symm.space>
  return
}

// -----

// CHECK-LABEL: func.func @next_epoch(
func.func @next_epoch(%counter: memref<1xi64, #symm.space>) -> i64 {
  // CHECK: %[[LAST:.*]] = llvm.load %[[PTR:.*]] : !llvm.ptr -> i64
  // CHECK: %[[ONE:.*]] = llvm.mlir.constant(1 : i64)
  // CHECK: %[[NEXT:.*]] = llvm.add %[[LAST]], %[[ONE]]
  // CHECK: llvm.store %[[NEXT]], %[[PTR]]
  // CHECK: return %[[NEXT]]
  %0 = symm.next_epoch %counter : memref<1xi64, #symm.space>
  return %0 : i64
}

// -----

// The values of `failure` are those of the artifact ABI.
// CHECK-DAG: llvm.func @moert_fail(i64, !llvm.ptr, i64, i64, i64, i64, i64, i64) attributes {passthrough = ["cold", "noreturn"]}
// CHECK-DAG: llvm.mlir.global internal constant @[[$TEXT:moe_str_[0-9a-f]+]]("rows\00")
// CHECK-LABEL: func.func @check(
// CHECK-SAME: %[[OK:.*]]: i1, %[[MAX:.*]]: i64, %[[SEEN:.*]]: i64, %[[P:.*]]: index)
func.func @check(%ok: i1, %max: i64, %seen: i64, %p: index) {
  // CHECK: %[[PEER:.*]] = builtin.unrealized_conversion_cast %[[P]] : index to i64
  // CHECK: %[[FAILED:.*]] = arith.xori %[[OK]], %true
  // CHECK: scf.if %[[FAILED]] {
  // CHECK: %[[WHAT:.*]] = llvm.mlir.addressof @[[$TEXT]]
  // CHECK: %[[CODE:.*]] = llvm.mlir.constant(10 : i64)
  // CHECK: %[[NO_BOUND:.*]] = llvm.mlir.constant(-9223372036854775808 : i64)
  // CHECK: %[[NOBODY:.*]] = llvm.mlir.constant(-1 : i64)
  // CHECK: %[[NO_TOKEN:.*]] = llvm.mlir.constant(-1 : i64)
  // CHECK: %[[NO_SLOT:.*]] = llvm.mlir.constant(-1 : i64)
  // CHECK: llvm.call @moert_fail(%[[CODE]], %[[WHAT]], %[[NO_BOUND]], %[[MAX]], %[[SEEN]], %[[NOBODY]], %[[NO_TOKEN]], %[[NO_SLOT]])
  symm.check %ok, capacity_exceeded, "rows" expected %max seen %seen
  // CHECK: llvm.mlir.constant(9 : i64)
  // CHECK: llvm.call @moert_fail(%{{.*}}, %{{.*}}, %{{.*}}, %[[MAX]], %[[SEEN]], %[[PEER]], %{{.*}}, %{{.*}})
  symm.check %ok, invalid_expert, "expert" expected %max seen %seen peer %p
  // CHECK: %[[NOBODY2:.*]] = llvm.mlir.constant(-1 : i64)
  // CHECK: llvm.call @moert_fail(%{{.*}}, %{{.*}}, %[[SEEN]], %[[MAX]], %[[SEEN]], %[[NOBODY2]], %[[PEER]], %[[PEER]])
  symm.check %ok, invalid_expert, "expert" expected %max at_least %seen seen %seen token %p slot %p
  // CHECK: llvm.mlir.constant(11 : i64)
  symm.check %ok, invalid_count, "count" expected %max seen %seen
  // CHECK: llvm.mlir.constant(1 : i64)
  symm.check %ok, invalid_argument, "tokens" expected %max seen %seen
  return
}

// -----

// The location is that of the op the collective was made from.
#layer = loc("/some/folder/layer.mlir":12:8)
#fused = loc(fused["x", #layer])
#call = loc(callsite(#fused at "main.mlir":1:2))
// CHECK: module attributes {symm.sites = [{location = "layer.mlir:12:8", op = "moe.dispatch"}, {location = "unknown", op = "moe.combine"}]}
// CHECK-DAG: @[[$OP:moe_str_[0-9a-f]+]]("moe.dispatch\00")
// CHECK-DAG: @[[$PLACE:moe_str_[0-9a-f]+]]("layer.mlir:12:8\00")
// CHECK-DAG: @[[$PHASE:moe_str_[0-9a-f]+]]("put\00")
// CHECK-LABEL: func.func @collective(
func.func @collective() {
  // CHECK-DAG: %[[NAME:.*]] = llvm.mlir.addressof @[[$OP]]
  // CHECK-DAG: %[[LOCATION:.*]] = llvm.mlir.addressof @[[$PLACE]]
  // CHECK-DAG: %[[SITE:.*]] = llvm.mlir.constant(0 : i64)
  // CHECK: llvm.call @moert_collective_begin(%[[NAME]], %[[LOCATION]], %[[SITE]])
  symm.collective_begin "moe.dispatch" site 0 loc(#call)
  // CHECK: %[[STRING:.*]] = llvm.mlir.addressof @[[$PHASE]]
  // CHECK: llvm.call @moert_phase(%[[STRING]])
  symm.phase "put"
  // CHECK: llvm.call @moert_collective_end()
  symm.collective_end
  symm.collective_begin "moe.combine" site 1 loc(unknown)
  symm.phase "put"
  symm.collective_end
  return
}

// -----

// Ops of other dialects see the same memory without its memory space; casts
// that only removed it are gone.
// CHECK-LABEL: func.func @other_users(
func.func @other_users(%b: memref<4x8xf32, #symm.space>, %i: index) -> f32 {
  // CHECK-NOT: memory_space_cast
  // CHECK-NOT: #symm.space
  %0 = memref.memory_space_cast %b : memref<4x8xf32, #symm.space> to memref<4x8xf32>
  %1 = memref.subview %b[%i, 0] [1, 8] [1, 1]
    : memref<4x8xf32, #symm.space> to memref<1x8xf32, strided<[8, 1], offset: ?>, #symm.space>
  memref.copy %1, %1
    : memref<1x8xf32, strided<[8, 1], offset: ?>, #symm.space>
   to memref<1x8xf32, strided<[8, 1], offset: ?>, #symm.space>
  %2 = memref.load %0[%i, %i] : memref<4x8xf32>
  return %2 : f32
}

// -----

// A module without symm ops gets no declarations.
// CHECK-LABEL: func.func @nothing(
// CHECK-NEXT: return
// CHECK-NOT: llvm
func.func @nothing() {
  return
}
