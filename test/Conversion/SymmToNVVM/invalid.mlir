// RUN: moe-opt %s -split-input-file -verify-diagnostics --convert-symm-to-nvvm

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @put(%x: memref<8x4xf32>, %y: memref<8x4xf32, #symm.space>, %i: index) kernel {
      // expected-error @+1 {{'symm.put' op is not supported in a GPU kernel}}
      symm.put %x[%i] to %y[%i] at %i : memref<8x4xf32> to memref<8x4xf32, #symm.space>
      gpu.return
    }
  }
}

// -----

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @wait(%f: memref<4xi64, #symm.space>, %i: index, %v: i64) kernel {
      symm.wait %f[%i] from %i, %v : memref<4xi64, #symm.space>
      gpu.return
    }
  }
  func.func @launch(%f: memref<4xi64, #symm.space>, %i: index, %v: i64) {
    %c1 = arith.constant 1 : index
    symm.collective_begin "moe.dispatch" site 0
    gpu.launch_func @kernels::@wait blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1)
      args(%f : memref<4xi64, #symm.space>, %i : index, %v : i64)
    symm.collective_end
    symm.collective_begin "moe.dispatch" site 1
    // expected-error @+1 {{'gpu.launch_func' op launches a kernel of another collective}}
    gpu.launch_func @kernels::@wait blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1)
      args(%f : memref<4xi64, #symm.space>, %i : index, %v : i64)
    symm.collective_end
    return
  }
}

// -----

func.func @host_code(%x: memref<8x4xf32>, %y: memref<8x4xf32, #symm.space>,
    %f: memref<4xi64, #symm.space>, %e: memref<1xi64, #symm.space>, %i: index, %v: i64) {
  // expected-error @+1 {{'symm.put' op expects to be in a kernel: host code does not reach the memory of a GPU}}
  symm.put %x[%i] to %y[%i] at %i : memref<8x4xf32> to memref<8x4xf32, #symm.space>
  // expected-error @+1 {{'symm.signal' op expects to be in a kernel}}
  symm.signal %f[%i] at %i, %v : memref<4xi64, #symm.space>
  // expected-error @+1 {{'symm.wait' op expects to be in a kernel}}
  symm.wait %f[%i] from %i, %v : memref<4xi64, #symm.space>
  return
}
