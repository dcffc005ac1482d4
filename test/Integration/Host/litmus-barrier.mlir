// Litmus test "barrier" of docs/MemoryModel.md: plain stores into the memory of
// every other rank, made through symm.peer before a barrier, are read after it;
// what was read before a barrier may be overwritten after it.
// RUN: moe-compile %s -o %t.so
// RUN: moe-run %t.so --bench 20 --timeout 20

shard.grid @ep(shape = 4)

func.func @litmus() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c200 = arith.constant 200 : index
  %data = symm.alloc : memref<4xi64, #symm.space>
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %me = symm.rank

  symm.collective_begin "litmus" site 0
  scf.for %round = %c0 to %c200 step %c1 {
    %stored = symm.next_epoch %counter : memref<1xi64, #symm.space>
    scf.for %r = %c0 to %c4 step %c1 {
      %theirs = symm.peer %data at %r : memref<4xi64, #symm.space>
      memref.store %stored, %theirs[%me] : memref<4xi64, #symm.space>
    }
    symm.barrier %flags, %stored : memref<4xi64, #symm.space>
    scf.for %r = %c0 to %c4 step %c1 {
      %seen = memref.load %data[%r] : memref<4xi64, #symm.space>
      %ok = arith.cmpi eq, %seen, %stored : i64
      symm.check %ok, invalid_count, "word" expected %stored seen %seen peer %r
    }
    %read = symm.next_epoch %counter : memref<1xi64, #symm.space>
    symm.barrier %flags, %read : memref<4xi64, #symm.space>
  }
  symm.collective_end
  return
}
