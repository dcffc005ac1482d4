// RUN: moe-opt %s -split-input-file --convert-symm-to-nvvm | FileCheck %s

// The kernel learns of its rank, of the distance to peers, of the bound of
// waits and of the error record; the launch passes them.
// CHECK: module attributes {gpu.container_module, symm.device_strings = []}
module attributes {gpu.container_module} {
  // CHECK: gpu.module @kernels
  gpu.module @kernels {
    // CHECK: gpu.func @peer(
    // CHECK-SAME: %[[BUFFER:.*]]: memref<4xi32, #symm.space>, %[[PEER:.*]]: index, %[[RANK:.*]]: i64, %[[STRIDE:.*]]: i64, %[[TIMEOUT:.*]]: i64, %[[STATUS:.*]]: !llvm.ptr) kernel
    // A smaller grid than the launch names may run.
    // CHECK-NOT: known_grid_size
    // CHECK-SAME: attributes {known_block_size = array<i32: 512, 1, 1>, nvvm.minctasm = 1 : i32}
    gpu.func @peer(%b: memref<4xi32, #symm.space>, %r: index) kernel
        attributes {known_block_size = array<i32: 512, 1, 1>,
                    known_grid_size = array<i32: 132, 1, 1>} {
      // CHECK: %[[I:.*]] = arith.index_cast %[[PEER]] : index to i64
      // CHECK: %[[RANKS:.*]] = arith.subi %[[I]], %[[RANK]] : i64
      // CHECK: %[[BYTES:.*]] = arith.muli %[[RANKS]], %[[STRIDE]] : i64
      // CHECK: %[[THERE:.*]] = llvm.getelementptr %{{.*}}[%[[BYTES]]] : (!llvm.ptr, i64) -> !llvm.ptr, i8
      // CHECK: llvm.insertvalue %[[THERE]], %{{.*}}[0]
      // CHECK: llvm.insertvalue %[[THERE]], %{{.*}}[1]
      %0 = symm.peer %b at %r : memref<4xi32, #symm.space>
      // CHECK: arith.index_cast %[[RANK]] : i64 to index
      %me = symm.rank
      %v = arith.index_cast %me : index to i32
      memref.store %v, %0[%me] : memref<4xi32, #symm.space>
      gpu.return
    }
    // CHECK-NOT: llvm.func
  }
  // CHECK: func.func @launch
  func.func @launch(%b: memref<4xi32, #symm.space>, %r: index) {
    %c1 = arith.constant 1 : index
    %c512 = arith.constant 512 : index
    // CHECK: %[[ME:.*]] = symm.rank
    // CHECK: %[[ME64:.*]] = arith.index_cast %[[ME]] : index to i64
    // CHECK: %[[S:.*]] = llvm.call @moert_symm_stride() : () -> i64
    // CHECK: %[[T:.*]] = llvm.call @moert_timeout_ns() : () -> i64
    // CHECK: %[[RECORD:.*]] = llvm.call @moert_device_status() : () -> !llvm.ptr
    // CHECK: gpu.launch_func @kernels::@peer
    // CHECK-SAME: args(%{{.*}} : memref<4xi32, #symm.space>, %{{.*}} : index, %[[ME64]] : i64, %[[S]] : i64, %[[T]] : i64, %[[RECORD]] : !llvm.ptr)
    gpu.launch_func @kernels::@peer blocks in (%c1, %c1, %c1) threads in (%c512, %c1, %c1)
      args(%b : memref<4xi32, #symm.space>, %r : index)
    return
  }
}

// -----

// The launch's grid bounds what runs.
// CHECK-LABEL: gpu.func @places
module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @places(%out: memref<2xindex>) kernel attributes {known_grid_size = array<i32: 132, 1, 1>} {
      // CHECK-DAG: gpu.block_id x upper_bound 132
      // CHECK-DAG: gpu.grid_dim x upper_bound 132
      // CHECK-DAG: gpu.block_id y upper_bound 1
      // CHECK-DAG: gpu.thread_id x{{$}}
      %x = gpu.block_id x
      %y = gpu.block_id y
      %n = gpu.grid_dim x
      %t = gpu.thread_id x
      memref.store %x, %out[%y] : memref<2xindex>
      memref.store %n, %out[%t] : memref<2xindex>
      gpu.return
    }
  }
}

// -----

// What a block posts is one word: the value, and above it the low half of the epoch. Who
// collects it learns whether it has come by comparing that half alone: epochs wrap around.
// CHECK: symm.device_strings = ["signal of a block"]
module attributes {gpu.container_module} {
  gpu.module @kernels {
    // CHECK: gpu.func @posts(
    // CHECK-SAME: %[[VALUE:[a-z0-9_]+]]: i32, %{{[a-z0-9_]+}}: index, %[[EPOCH:[a-z0-9_]+]]: i64, %[[OUT:[a-z0-9_]+]]: memref<1xi32>
    gpu.func @posts(%words: memref<96xi64, #symm.space>, %value: i32, %i: index, %epoch: i64,
                    %out: memref<1xi32>) kernel {
      // CHECK: %[[HIGH:.*]] = arith.shli %[[EPOCH]], %{{.*}} : i64
      // CHECK: %[[LOW:.*]] = arith.extui %[[VALUE]] : i32 to i64
      // CHECK: %[[WORD:.*]] = arith.ori %[[HIGH]], %[[LOW]] : i64
      // CHECK: llvm.store %[[WORD]], %{{.*}} atomic syncscope("device") monotonic {alignment = 8 : i64} : i64, !llvm.ptr<1>
      symm.post %value to %words[%i] in %epoch : memref<96xi64, #symm.space>
      // CHECK: %[[PLACE:.*]] = llvm.getelementptr {{.*}} -> !llvm.ptr<1>, i8
      // CHECK: %[[SEEN:.*]] = llvm.call @symm_collect(%[[PLACE]], %[[EPOCH]], %{{.*}})
      // CHECK: %[[THERE:.*]] = arith.trunci %[[SEEN]] : i64 to i32
      // CHECK: %[[SHIFTED:.*]] = arith.shrui %[[SEEN]], %{{.*}} : i64
      // CHECK: %[[TAG:.*]] = arith.trunci %[[SHIFTED]] : i64 to i32
      // CHECK: %[[WANTED:.*]] = arith.trunci %[[EPOCH]] : i64 to i32
      // CHECK: %[[IS_POSTED:.*]] = arith.cmpi eq, %[[TAG]], %[[WANTED]] : i32
      %there, %posted = symm.collect %words[%i] in %epoch : memref<96xi64, #symm.space>
      // CHECK: scf.if %[[IS_POSTED]]
      scf.if %posted {
        %c0 = arith.constant 0 : index
        // CHECK: memref.store %[[THERE]], %[[OUT]]
        memref.store %there, %out[%c0] : memref<1xi32>
      }
      gpu.return
    }
    // CHECK: llvm.func internal @symm_collect(
    // CHECK: llvm.load %{{.*}} atomic syncscope("device") monotonic {alignment = 8 : i64}
  }
}

// -----

// Records name the collective the host is in, and the phase that stands last
// before: the host's until the kernel has its own.
// CHECK: symm.device_strings = ["prepare", "row", "signal", "exchange", "blocks arrived"]
module attributes {gpu.container_module} {
  gpu.module @kernels {
    // CHECK: gpu.func @errors(
    // CHECK: %[[STATUS:.*]] = llvm.addrspacecast %{{.*}} : !llvm.ptr to !llvm.ptr<1>
    gpu.func @errors(%flags: memref<4xi64, #symm.space>, %n: memref<1xi64, #symm.space>,
                     %i: index, %ok: i1, %v: i64) kernel {
      // CHECK: scf.if
      // CHECK-DAG: %[[PHASE:.*]] = arith.constant 0 : i32
      // CHECK-DAG: %[[WHAT:.*]] = arith.constant 1 : i32
      // CHECK-DAG: %[[CODE:.*]] = arith.constant 11 : i32
      // CHECK-DAG: %[[SITE:.*]] = arith.constant 7 : i32
      // CHECK-DAG: %[[NOBODY:.*]] = arith.constant -1 : i32
      // CHECK-DAG: %[[NO_BOUND:.*]] = arith.constant -9223372036854775808 : i64
      // CHECK: llvm.call @symm_record(%[[STATUS]], %[[CODE]], %[[SITE]], %[[PHASE]], %[[WHAT]], %[[NOBODY]], %[[V:.*]], %[[V]], %[[NO_BOUND]], %{{.*}}, %{{.*}})
      symm.check %ok, invalid_count, "row" expected %v seen %v
      // CHECK: %[[PLACE:.*]] = arith.index_cast %{{.*}} : index to i32
      // CHECK: llvm.call @symm_record(%[[STATUS]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[V]], %[[V]], %[[V]], %[[PLACE]], %{{.*}})
      symm.check %ok, invalid_count, "row" expected %v at_least %v seen %v token %i slot %i
      // CHECK-NOT: symm.phase
      symm.phase "exchange"
      // CHECK: %[[FLAG:.*]] = llvm.getelementptr {{.*}} -> !llvm.ptr<1>, i8
      // CHECK: %[[PEER:.*]] = arith.index_cast %{{.*}} : index to i32
      // CHECK: llvm.call @symm_wait(%[[FLAG]], %[[V]], %{{.*}}, %[[STATUS]], %{{.*}}, %{{.*}}, %{{.*}}, %[[PEER]])
      symm.wait %flags[%i] from %i, %v : memref<4xi64, #symm.space>
      // CHECK: %[[SEEN:.*]] = llvm.call @symm_wait(
      // CHECK: arith.cmpi uge, %[[SEEN]], %[[V]]
      %seen = symm.wait %flags[%i] from %i, %v : memref<4xi64, #symm.space> -> i64
      %arrived = arith.cmpi uge, %seen, %v : i64
      // CHECK: llvm.call @symm_grid_barrier(
      symm.grid_barrier %n : memref<1xi64, #symm.space>
      // CHECK: %[[MET:.*]] = llvm.call @symm_grid_barrier(
      // CHECK: arith.andi %{{.*}}, %[[MET]]
      %met = symm.grid_barrier %n : memref<1xi64, #symm.space> -> i1
      %both = arith.andi %arrived, %met : i1
      // CHECK: %[[C:.*]] = llvm.load volatile %[[STATUS]] {{.*}} : !llvm.ptr<1> -> i32
      // CHECK: arith.cmpi ne, %[[C]]
      %failed = symm.failed
      scf.if %failed {
      } else {
        // CHECK: %[[WORD:.*]] = llvm.getelementptr {{.*}} -> !llvm.ptr<1>, i8
        // CHECK: %[[THERE:.*]] = llvm.getelementptr %[[WORD]]
        // CHECK-NEXT: llvm.store %[[V]], %[[THERE]] atomic release {alignment = 8 : i64} : i64, !llvm.ptr<1>
        symm.signal %flags[%i] at %i, %v : memref<4xi64, #symm.space>
        // CHECK: llvm.store %[[V]], %{{.*}} atomic monotonic {alignment = 8 : i64} : i64, !llvm.ptr<1>
        symm.signal %flags[%i] at %i, %v relaxed : memref<4xi64, #symm.space>
      }
      // CHECK: %[[COUNTER:.*]] = llvm.getelementptr {{.*}} -> !llvm.ptr<1>, i8
      // CHECK: %[[NUMBER:.*]] = llvm.atomicrmw add %[[COUNTER]], %{{.*}} syncscope("device") monotonic {alignment = 8 : i64} : !llvm.ptr<1>, i64
      %number = symm.take %flags[%i] : memref<4xi64, #symm.space>
      // CHECK: llvm.store %[[NUMBER]], %{{.*}} atomic release
      symm.signal %flags[%i] at %i, %number : memref<4xi64, #symm.space>
      gpu.return
    }
    // What is called is there, and what that calls.
    // CHECK-DAG: llvm.func internal @symm_record(
    // CHECK-DAG: llvm.func internal @symm_wait(
    // CHECK-DAG: llvm.func internal @symm_expired(
    // CHECK-DAG: llvm.func internal @symm_late(
    // CHECK-DAG: llvm.func internal @symm_grid_barrier(
    // CHECK-DAG: llvm.func internal @symm_wait_for_grid(
  }
  func.func @launch(%flags: memref<4xi64, #symm.space>, %n: memref<1xi64, #symm.space>,
                    %i: index, %ok: i1, %v: i64) {
    %c1 = arith.constant 1 : index
    symm.collective_begin "moe.dispatch" site 7
    symm.phase "prepare"
    gpu.launch_func @kernels::@errors blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1)
      args(%flags : memref<4xi64, #symm.space>, %n : memref<1xi64, #symm.space>,
           %i : index, %ok : i1, %v : i64)
    symm.phase "afterwards"
    symm.collective_end
    return
  }
}
