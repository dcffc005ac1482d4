// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-serialize-kernels

gpu.module @a {
}
// expected-error @+1 {{'gpu.module' op is a second GPU module; run moe-merge-kernel-modules first}}
gpu.module @b {
}

// -----

// expected-error @+1 {{a kernel needs the function 'helper', which no library for GPUs defines}}
gpu.module @kernels {
  llvm.func @helper(i32) -> i32
  llvm.func @k(%p: !llvm.ptr<1>, %a: i32) attributes {nvvm.kernel} {
    %0 = llvm.call @helper(%a) : (i32) -> i32
    llvm.store %0, %p : i32, !llvm.ptr<1>
    llvm.return
  }
}
