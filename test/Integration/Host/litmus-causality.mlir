// Litmus test "causality" of docs/MemoryModel.md. Rank 0 puts into the memory of
// rank 2 but signals rank 1 only; rank 1 waits for that and signals rank 2. Rank
// 2, which never hears from rank 0, reads what rank 0 put.
// RUN: moe-compile %s -o %t.so
// RUN: moe-run %t.so --bench 20 --timeout 20

shard.grid @ep(shape = 3)

func.func @litmus() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c64 = arith.constant 64 : index
  %c200 = arith.constant 200 : index
  %source = memref.alloca() : memref<64xi64>
  %data = symm.alloc : memref<64xi64, #symm.space>
  %flags = symm.alloc persistent : memref<3xi64, #symm.space>
  %done = symm.alloc persistent : memref<3xi64, #symm.space>
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  %me = symm.rank

  symm.collective_begin "litmus" site 0
  scf.for %round = %c0 to %c200 step %c1 {
    %epoch = symm.next_epoch %counter : memref<1xi64, #symm.space>
    scf.index_switch %me
    case 0 {
      scf.for %i = %c0 to %c64 step %c1 {
        memref.store %epoch, %source[%i] : memref<64xi64>
      }
      symm.put %source[%c0] to %data[%c0] at %c2 count %c64
        : memref<64xi64> to memref<64xi64, #symm.space>
      symm.signal %flags[%c0] at %c1, %epoch : memref<3xi64, #symm.space>
      scf.yield
    }
    case 1 {
      symm.wait %flags[%c0] from %c0, %epoch : memref<3xi64, #symm.space>
      symm.signal %flags[%c1] at %c2, %epoch : memref<3xi64, #symm.space>
      scf.yield
    }
    default {
      symm.wait %flags[%c1] from %c1, %epoch : memref<3xi64, #symm.space>
      scf.for %i = %c0 to %c64 step %c1 {
        %seen = memref.load %data[%i] : memref<64xi64, #symm.space>
        %ok = arith.cmpi eq, %seen, %epoch : i64
        symm.check %ok, invalid_count, "word" expected %epoch seen %seen peer %c0
      }
    }
    symm.barrier %done, %epoch : memref<3xi64, #symm.space>
  }
  symm.collective_end
  return
}
