// RUN: moe-opt %s --moe-call-math-functions --split-input-file --verify-diagnostics

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @f64(%x: f64) kernel {
      // expected-error @+1 {{'math.exp' op expects f32 or a smaller float in a kernel ('f64')}}
      %0 = math.exp %x : f64
      gpu.return
    }
  }
}

// -----

func.func @wide_power(%x: f32, %n: i128) -> f32 {
  // expected-error @+1 {{'math.fpowi' op expects a power of at most 64 bits ('i128')}}
  %0 = math.fpowi %x, %n : f32, i128
  return %0 : f32
}
