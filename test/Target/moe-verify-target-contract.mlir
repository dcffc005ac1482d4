// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-verify-target-contract

shard.grid @ep(shape = 2)
llvm.func @lowered() {
  llvm.return
}

// -----

// Every op that is left is named, where it is.
llvm.func @leftovers(%x: i64) {
  // expected-error @+1 {{'builtin.unrealized_conversion_cast' op has no lowering to the LLVM dialect}}
  %0 = builtin.unrealized_conversion_cast %x : i64 to index
  // expected-error @+1 {{'symm.phase' op has no lowering to the LLVM dialect}}
  symm.phase "put"
  llvm.return
}
