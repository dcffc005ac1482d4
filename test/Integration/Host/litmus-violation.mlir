// The counterpart of the litmus tests: a program that breaks the rules, and is
// caught. Each rank waits for an epoch that the other never signals; and a check
// that does not hold on one rank ends the entry on both.
// RUN: split-file %s %t
// RUN: moe-compile %t/wait.mlir -o %t/wait.so
// RUN: not moe-run %t/wait.so --timeout 4 2>&1 | FileCheck %s --check-prefix=WAIT
// RUN: moe-compile %t/check.mlir -o %t/check.so
// RUN: not moe-run %t/check.so --timeout 20 2>&1 | FileCheck %s --check-prefix=CHECK

//--- wait.mlir
shard.grid @ep(shape = 2)
func.func @litmus() {
  %c1 = arith.constant 1 : index
  %epoch = arith.constant 7 : i64
  %flags = symm.alloc persistent : memref<2xi64, #symm.space>
  %me = symm.rank
  %other = arith.subi %c1, %me : index
  symm.collective_begin "litmus" site 0
  symm.phase "handshake"
  symm.wait %flags[%other] from %other, %epoch : memref<2xi64, #symm.space>
  symm.collective_end
  return
}
// WAIT: rank [[RANK:[01]]]: litmus at wait.mlir:8:3, phase 'handshake': timed out
// WAIT-SAME: expected signal 7, seen 0

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
// CHECK: rank 1: litmus at check.mlir:9:3, phase 'look': invalid count: number of apples: expected at most 5, seen 6, peer rank 0
