// Litmus test "quiescence" of docs/MemoryModel.md: after the barrier that ends
// the first exchange no rank accesses its buffer any more, so the second
// exchange, which uses the same memory, sees nothing of the first.
// RUN: moe-compile %s --emit=symm | FileCheck %s
// RUN: moe-compile %s -o %t.so
// RUN: moe-run %t.so --bench 20 --timeout 20

shard.grid @ep(shape = 4)

// The two buffers share their memory.
// CHECK: symm.alloc at [[OFFSET:[0-9]+]] {{.*}}: memref<4x32xi64, #symm.space>
// CHECK: symm.alloc at [[OFFSET]] {{.*}}: memref<4x32xi64, #symm.space>
func.func @litmus() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c32 = arith.constant 32 : index
  %c100 = arith.constant 100 : index
  %row = memref.alloca() : memref<1x32xi64>
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %me = symm.rank

  symm.collective_begin "litmus" site 0
  scf.for %round = %c0 to %c100 step %c1 {
    %first = symm.alloc : memref<4x32xi64, #symm.space>
    %e1 = symm.next_epoch %counter : memref<1xi64, #symm.space>
    func.call @fill(%row, %e1) : (memref<1x32xi64>, i64) -> ()
    scf.for %r = %c0 to %c4 step %c1 {
      symm.put %row[%c0] to %first[%me] at %r
        : memref<1x32xi64> to memref<4x32xi64, #symm.space>
    }
    symm.barrier %flags, %e1 : memref<4xi64, #symm.space>
    symm.free %first : memref<4x32xi64, #symm.space>

    // Only own stores go to the second buffer: a put of the first exchange that
    // came late would show.
    %second = symm.alloc : memref<4x32xi64, #symm.space>
    %e2 = symm.next_epoch %counter : memref<1xi64, #symm.space>
    scf.for %r = %c0 to %c4 step %c1 {
      scf.for %i = %c0 to %c32 step %c1 {
        memref.store %e2, %second[%r, %i] : memref<4x32xi64, #symm.space>
      }
    }
    symm.barrier %flags, %e2 : memref<4xi64, #symm.space>
    scf.for %r = %c0 to %c4 step %c1 {
      scf.for %i = %c0 to %c32 step %c1 {
        %seen = memref.load %second[%r, %i] : memref<4x32xi64, #symm.space>
        %ok = arith.cmpi eq, %seen, %e2 : i64
        symm.check %ok, invalid_count, "word" expected %e2 seen %seen peer %r
      }
    }
    %e3 = symm.next_epoch %counter : memref<1xi64, #symm.space>
    symm.barrier %flags, %e3 : memref<4xi64, #symm.space>
    symm.free %second : memref<4x32xi64, #symm.space>
  }
  symm.collective_end
  return
}

func.func private @fill(%row: memref<1x32xi64>, %value: i64) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  scf.for %i = %c0 to %c32 step %c1 {
    memref.store %value, %row[%c0, %i] : memref<1x32xi64>
  }
  return
}
