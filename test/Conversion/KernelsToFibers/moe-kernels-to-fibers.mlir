// RUN: moe-opt %s --moe-kernels-to-fibers --canonicalize | FileCheck %s
// RUN: moe-opt %s --moe-kernels-to-fibers --convert-symm-to-llvm --moe-kernels-to-fibers | FileCheck %s --check-prefix=SPACES

// Nothing is left of GPUs.
// SPACES-NOT: workgroup
// SPACES-NOT: gpu.

// What the kernel needs goes through memory; 128 bytes hold the counters.
// CHECK-LABEL: func.func @kernel(
// CHECK-SAME: %[[X:.*]]: memref<8x64xbf16>, %[[N:.*]]: index, %[[BLOCKS:.*]]: index)
// CHECK-DAG: %[[THREADS:.*]] = arith.constant 64 : i64
// CHECK-DAG: %[[BYTES:.*]] = arith.constant 1152 : i64
// CHECK-DAG: %[[FUNCTION:.*]] = constant @kernel_fiber_0
// CHECK: %[[CAPTURES:.*]] = llvm.alloca
// CHECK: %[[DESCRIPTOR:.*]] = builtin.unrealized_conversion_cast %[[X]]
// CHECK: llvm.store %[[DESCRIPTOR]]
// CHECK: %[[CODE:.*]] = builtin.unrealized_conversion_cast %[[FUNCTION]] : {{.*}} to !llvm.ptr
// CHECK: %[[WIDE:.*]] = arith.index_cast %[[BLOCKS]] : index to i64
// CHECK: llvm.call @moe_fiber_launch(%[[CODE]], %[[CAPTURES]], %[[WIDE]], %[[THREADS]], %[[BYTES]])
// CHECK-NOT: gpu.launch

// CHECK-LABEL: func.func private @kernel_fiber_0(
// CHECK-SAME: %{{.*}}: !llvm.ptr, %[[SHARED:.*]]: !llvm.ptr, %[[B:.*]]: i64, %[[T:.*]]: i64, %{{.*}}: i64, %{{.*}}: i64)
// CHECK-DAG: %[[S0:.*]] = arith.constant 0 : i64
// CHECK-DAG: %[[S1:.*]] = arith.constant 1 : i64
// CHECK-DAG: %[[S2:.*]] = arith.constant 2 : i64
// CHECK-DAG: %[[S3:.*]] = arith.constant 3 : i64
// CHECK-DAG: %[[S4:.*]] = arith.constant 4 : i64
// CHECK-DAG: %[[S5:.*]] = arith.constant 5 : i64
// CHECK-DAG: %[[S6:.*]] = arith.constant 6 : i64
// CHECK-DAG: %[[S7:.*]] = arith.constant 7 : i64
// CHECK-DAG: %[[S8:.*]] = arith.constant 8 : i64
// CHECK-DAG: %[[ROW:.*]] = arith.constant 128 : i64
// CHECK-DAG: %[[COUNT:.*]] = arith.constant 11 : i64
// Places where threads meet, wait or put have numbers, in their order.
// CHECK: %[[YES:.*]] = arith.cmpi ult
// CHECK: %[[BIT:.*]] = arith.extui %[[YES]] : i1 to i64
// CHECK: llvm.call @moe_fiber_ballot(%[[S0]], %[[BIT]])
// CHECK: llvm.call @moe_fiber_shuffle(%[[S1]], %{{.*}}, %[[S3]])
// CHECK: llvm.call @moe_fiber_sum(%[[S2]],
// A row without a destination.
// CHECK: %[[EXISTS:.*]] = arith.cmpi sge, %[[T]], %[[S0]]
// CHECK: %[[TARGET:.*]] = arith.select %[[EXISTS]], %{{.*}}, %{{.*}} : !llvm.ptr
// CHECK: llvm.call @moe_fiber_put_each(%[[S3]], %{{.*}}, %[[TARGET]], %[[ROW]], %[[S4]], %[[T]], %[[S0]], %[[S1]], %[[S0]])
// CHECK: llvm.call @moe_fiber_barrier(%[[S4]])
// CHECK: scf.if
// CHECK:   llvm.call @moe_fiber_record(%[[COUNT]], %{{.*}}, %{{.*}}, %{{.*}}, %[[S7]],
// Others get time before and after a signal.
// CHECK: llvm.call @moe_fiber_pause()
// CHECK-NEXT: symm.signal
// CHECK-NEXT: llvm.call @moe_fiber_pause()
// CHECK: llvm.call @moe_fiber_wait(%[[S5]], 
// CHECK: llvm.getelementptr %[[SHARED]][128]
// CHECK: memref.view %{{.*}} : memref<?xi8> to memref<2x64xbf16>
// CHECK: llvm.call @moe_fiber_stage_init(
// CHECK: llvm.call @moe_fiber_put_stage(%[[S6]], %{{.*}}, %{{.*}}, %[[ROW]], %[[S2]])
// CHECK: llvm.call @moe_fiber_put_wait(%[[S7]], %[[S1]], %[[S1]])
// CHECK: llvm.call @moe_fiber_put_wait(%[[S8]], %[[S0]], %[[S0]])
// CHECK: return
func.func @kernel(%x: memref<8x64xbf16>, %n: index, %blocks: index) {
  %one = arith.constant 1 : index
  %threads = arith.constant 64 : index
  %bytes = arith.constant 1024 : i32
  %recv = symm.alloc at 0 : memref<16x64xbf16, #symm.space>
  %flags = symm.alloc persistent at 2048 : memref<4xi64, #symm.space>
  gpu.launch blocks(%b, %by, %bz) in (%gx = %blocks, %gy = %one, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %threads, %sy = %one, %sz = %one)
      dynamic_shared_memory_size %bytes
      workgroup(%full : memref<2xi64, #gpu.address_space<workgroup>>) {
    %c0 = arith.constant 0 : index
    %c7 = arith.constant 7 : i64
    %mask = arith.constant -1 : i32
    %i3 = arith.constant 3 : i32
    %i32 = arith.constant 32 : i32
    symm.phase "put"
    %yes = arith.cmpi ult, %t, %n : index
    %vote = nvvm.vote.sync ballot %mask, %yes -> i32
    %other, %valid = gpu.shuffle idx %vote, %i3, %i32 : i32
    %sum = gpu.subgroup_reduce add %other uniform : (i32) -> i32
    %wide = arith.extui %sum : i32 to i64
    symm.put_each %x[%b] to %recv[%t] at %c0 rotated %t lanes 4
      : memref<8x64xbf16> to memref<16x64xbf16, #symm.space>
    gpu.barrier
    symm.check %yes, invalid_count, "rows" expected %c7 seen %wide
    symm.signal %flags[%c0] at %c0, %c7 : memref<4xi64, #symm.space>
    symm.wait %flags[%c0] from %c0, %c7 : memref<4xi64, #symm.space>
    %memory = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
    %ring = memref.view %memory[%c0][] : memref<?xi8, #gpu.address_space<workgroup>> to memref<2x64xbf16, #gpu.address_space<workgroup>>
    symm.stage_init %full arrivals 1 : memref<2xi64, #gpu.address_space<workgroup>>
    symm.put_each %ring[%c0] to %recv[%t] at %c0 rotated %c0 lanes 2
      : memref<2x64xbf16, #gpu.address_space<workgroup>> to memref<16x64xbf16, #symm.space>
    symm.put_wait pending 1 read
    symm.put_wait pending 0
    gpu.terminator
  }
  return
}

// No other fiber runs while bits are set.
// CHECK-LABEL: func.func private @marks_fiber_1(
// CHECK: %[[WORD:.*]] = memref.load %[[WORDS:.*]][%[[I:.*]]] : memref<4xi32
// CHECK-NEXT: %[[MARKED:.*]] = arith.ori %[[WORD]], %{{.*}} : i32
// CHECK-NEXT: memref.store %[[MARKED]], %[[WORDS]][%[[I]]]
func.func @marks(%i: index, %bits: i32) {
  %one = arith.constant 1 : index
  gpu.launch blocks(%b, %by, %bz) in (%gx = %one, %gy = %one, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %one, %sy = %one, %sz = %one)
      workgroup(%words : memref<4xi32, #gpu.address_space<workgroup>>) {
    symm.mark %words[%i], %bits : memref<4xi32, #gpu.address_space<workgroup>>
    gpu.terminator
  }
  return
}

// A collected word has the value below and the low half of the epoch above.
// CHECK-LABEL: func.func private @posts_fiber_2(
// CHECK-DAG: %[[HALF:.*]] = arith.constant 32 : i64
// CHECK: %[[BITS:.*]] = arith.extui %[[VALUE:.*]] : i32 to i64
// CHECK: llvm.call @moe_fiber_post(%{{.*}}, %[[EPOCH:.*]], %[[BITS]]) : (!llvm.ptr, i64, i64) -> ()
// CHECK: %[[WORD:.*]] = llvm.call @moe_fiber_collect(%{{.*}}, %{{.*}}, %[[EPOCH]], %{{.*}}) : (i64, !llvm.ptr, i64, !llvm.ptr) -> i64
// CHECK: %[[HIGH:.*]] = arith.shrui %[[WORD]], %[[HALF]]
// CHECK-DAG: %[[TAG:.*]] = arith.trunci %[[HIGH]] : i64 to i32
// CHECK-DAG: %[[WANTED:.*]] = arith.trunci %[[EPOCH]] : i64 to i32
// CHECK: %[[POSTED:.*]] = arith.cmpi eq, %[[TAG]], %[[WANTED]] : i32
// CHECK: %[[LOW:.*]] = arith.trunci %[[WORD]] : i64 to i32
// CHECK: arith.select %[[POSTED]], %[[LOW]], %[[VALUE]] : i32
func.func @posts(%i: index, %value: i32, %epoch: i64) {
  %one = arith.constant 1 : index
  %words = symm.alloc persistent at 0 : memref<4xi64, #symm.space>
  gpu.launch blocks(%b, %by, %bz) in (%gx = %one, %gy = %one, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %one, %sy = %one, %sz = %one)
      workgroup(%out : memref<1xi32, #gpu.address_space<workgroup>>) {
    %c0 = arith.constant 0 : index
    symm.post %value to %words[%i] in %epoch : memref<4xi64, #symm.space>
    %there, %posted = symm.collect %words[%i] in %epoch : memref<4xi64, #symm.space>
    %seen = arith.select %posted, %there, %value : i32
    memref.store %seen, %out[%c0] : memref<1xi32, #gpu.address_space<workgroup>>
    gpu.terminator
  }
  return
}

// What a fiber has loaded is there: nothing is left of a join.
// CHECK-LABEL: func.func private @joined_fiber_3(
// CHECK: %[[A:.*]] = vector.load %{{.*}}[%[[T:.*]], %{{.*}}] : memref<8x4xf32>, vector<4xf32>
// CHECK-NEXT: %[[B:.*]] = vector.load
// CHECK-NEXT: %[[D:.*]] = arith.subf %[[A]], %[[B]] : vector<4xf32>
// CHECK-NEXT: vector.store %[[D]],
func.func @joined(%x: memref<8x4xf32>, %y: memref<8x4xf32>) {
  %one = arith.constant 1 : index
  gpu.launch blocks(%b, %by, %bz) in (%gx = %one, %gy = %one, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %one, %sy = %one, %sz = %one) {
    %c0 = arith.constant 0 : index
    %0 = vector.load %x[%t, %c0] : memref<8x4xf32>, vector<4xf32>
    %1 = vector.load %y[%t, %c0] : memref<8x4xf32>, vector<4xf32>
    %2:2 = symm.join_loads %0, %1 with %1 : vector<4xf32>, vector<4xf32> with vector<4xf32>
    %3 = arith.subf %2#0, %2#1 : vector<4xf32>
    vector.store %3, %x[%t, %c0] : memref<8x4xf32>, vector<4xf32>
    gpu.terminator
  }
  return
}
