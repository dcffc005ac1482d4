// The counterpart of the litmus tests: a program that breaks the rules, and is
// caught. Rank 1 waits for an epoch that rank 0 never signals, and a check that
// does not hold ends the entry on both ranks.
// RUN: split-file %s %t
// RUN: moe-compile %t/wait.mlir -o %t/wait.so
// RUN: not moe-run %t/wait.so --timeout 1 2>&1 | FileCheck %s --check-prefix=WAIT
// RUN: moe-compile %t/check.mlir -o %t/check.so
// RUN: not moe-run %t/check.so --timeout 20 2>&1 | FileCheck %s --check-prefix=CHECK

//--- wait.mlir
shard.grid @ep(shape = 2)
func.func @litmus() {
  %c0 = arith.constant 0 : index
  %epoch = arith.constant 7 : i64
  %flags = symm.alloc persistent : memref<2xi64, #symm.space>
  %me = symm.rank
  %is1 = arith.cmpi ne, %me, %c0 : index
  symm.collective_begin "litmus" site 0
  symm.phase "wait"
  scf.if %is1 {
    symm.wait %flags[%c0] from %c0, %epoch : memref<2xi64, #symm.space>
  }
  symm.collective_end
  return
}
// WAIT: litmus
// WAIT-SAME: wait.mlir:8:3
// WAIT-SAME: wait

//--- check.mlir
shard.grid @ep(shape = 2)
func.func @litmus() {
  %max = arith.constant 5 : i64
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %me = symm.rank
  %seen = arith.constant 6 : i64
  %ok = arith.cmpi eq, %me, %c0 : index
  symm.collective_begin "litmus" site 0
  symm.phase "look"
  symm.check %ok, invalid_count, "number of apples" expected %max seen %seen peer %c0
  symm.collective_end
  return
}
// CHECK: number of apples
