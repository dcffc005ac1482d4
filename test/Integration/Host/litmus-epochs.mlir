// Litmus test "epochs" of docs/MemoryModel.md. Rank 0 runs ahead: it signals a
// hundred epochs in a row, each after the put that belongs to it, into a slot of
// its own. Rank 1 waits for every third of them. Flags are compared with >= and
// never reset, so no wait misses a signal that was overtaken, and no signal has
// to be waited for. The epochs go on from call to call.
// RUN: moe-compile %s -o %t.so
// RUN: moe-run %t.so --bench 20 --timeout 20

shard.grid @ep(shape = 2)

func.func @litmus() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c100 = arith.constant 100 : index
  %one = arith.constant 1 : i64
  %hundred = arith.constant 100 : i64
  %source = memref.alloca() : memref<1xi64>
  %data = symm.alloc : memref<100xi64, #symm.space>
  %flags = symm.alloc persistent : memref<2xi64, #symm.space>
  %done = symm.alloc persistent : memref<2xi64, #symm.space>
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %me = symm.rank
  %call = symm.next_epoch %counter : memref<1xi64, #symm.space>
  %before = arith.subi %call, %one : i64
  %base = arith.muli %before, %hundred : i64
  %is0 = arith.cmpi eq, %me, %c0 : index

  symm.collective_begin "litmus" site 0
  scf.if %is0 {
    scf.for %i = %c0 to %c100 step %c1 {
      %i64 = arith.index_cast %i : index to i64
      %n = arith.addi %base, %i64 : i64
      %epoch = arith.addi %n, %one : i64
      memref.store %epoch, %source[%c0] : memref<1xi64>
      symm.put %source[%c0] to %data[%i] at %c1
        : memref<1xi64> to memref<100xi64, #symm.space>
      symm.signal %flags[%c0] at %c1, %epoch : memref<2xi64, #symm.space>
    }
  } else {
    scf.for %i = %c0 to %c100 step %c3 {
      %i64 = arith.index_cast %i : index to i64
      %n = arith.addi %base, %i64 : i64
      %epoch = arith.addi %n, %one : i64
      symm.wait %flags[%c0] from %c0, %epoch : memref<2xi64, #symm.space>
      %seen = memref.load %data[%i] : memref<100xi64, #symm.space>
      %ok = arith.cmpi eq, %seen, %epoch : i64
      symm.check %ok, invalid_count, "word" expected %epoch seen %seen peer %c0
    }
  }
  symm.barrier %done, %call : memref<2xi64, #symm.space>
  symm.collective_end
  return
}
