// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-use-runtime-allocator

llvm.func @_mlir_memref_to_llvm_free(!llvm.ptr)
// expected-error @+1 {{redefinition of function 'moert_free' of different type '!llvm.func<void (ptr)>' is prohibited}}
llvm.func @moert_free(i64)
llvm.func @f(%p: !llvm.ptr) {
  llvm.call @_mlir_memref_to_llvm_free(%p) : (!llvm.ptr) -> ()
  llvm.return
}
