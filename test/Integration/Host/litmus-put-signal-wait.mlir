// Litmus test "put; signal -> wait; read" of docs/MemoryModel.md: what a rank
// put before it signalled is what the waiting rank reads.
// RUN: moe-compile %s -o %t.so
// RUN: moe-run %t.so --bench 20 --timeout 20

shard.grid @ep(shape = 4)

func.func @litmus() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c64 = arith.constant 64 : index
  %c200 = arith.constant 200 : index
  %source = memref.alloca() : memref<64xi64>
  %data = symm.alloc : memref<64xi64, #symm.space>
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  %done = symm.alloc persistent : memref<4xi64, #symm.space>
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %me = symm.rank
  %n = arith.addi %me, %c1 : index
  %next = arith.remui %n, %c4 : index
  %p = arith.addi %me, %c64 : index
  %q = arith.subi %p, %c1 : index
  %last = arith.remui %q, %c4 : index

  symm.collective_begin "litmus" site 0
  scf.for %round = %c0 to %c200 step %c1 {
    %epoch = symm.next_epoch %counter : memref<1xi64, #symm.space>
    scf.for %i = %c0 to %c64 step %c1 {
      memref.store %epoch, %source[%i] : memref<64xi64>
    }
    symm.put %source[%c0] to %data[%c0] at %next count %c64
      : memref<64xi64> to memref<64xi64, #symm.space>
    symm.signal %flags[%me] at %next, %epoch : memref<4xi64, #symm.space>

    symm.wait %flags[%last] from %last, %epoch : memref<4xi64, #symm.space>
    scf.for %i = %c0 to %c64 step %c1 {
      %seen = memref.load %data[%i] : memref<64xi64, #symm.space>
      %ok = arith.cmpi eq, %seen, %epoch : i64
      symm.check %ok, invalid_count, "word" expected %epoch seen %seen peer %last
    }
    // The next round overwrites the words: nobody may still be reading.
    symm.barrier %done, %epoch : memref<4xi64, #symm.space>
  }
  symm.collective_end
  return
}
