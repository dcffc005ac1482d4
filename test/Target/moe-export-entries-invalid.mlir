// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-export-entries

// expected-error @+1 {{'llvm.func' op expects 5 arguments for the entry's type ('(tensor<4xf32>) -> ()', 1 found)}}
llvm.func @arguments(%a: i64) attributes {moe.entry = (tensor<4xf32>) -> ()} {
  llvm.return
}

// -----

// expected-error @+1 {{'llvm.func' op expects a memref descriptor as result 0 ('i64')}}
llvm.func @result() -> i64 attributes {moe.entry = () -> tensor<4xf32>} {
  %0 = llvm.mlir.constant(0 : i64) : i64
  llvm.return %0 : i64
}

// -----

// expected-error @+1 {{'llvm.func' op takes the name of an entry's symbol}}
llvm.func @moe_entry_f()
llvm.func @f() attributes {moe.entry = () -> ()} {
  llvm.return
}
