// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-check-entries=target=cuda

// The library of the device has no functions of f64; arithmetic is fine.
func.func @f64(%x: f64) -> f64 {
  %0 = arith.addf %x, %x : f64
  %1 = math.sqrt %0 : f64
  // expected-error @+1 {{'math.exp' op expects values of f32, f16, bf16, f8E4M3FN or f8E5M2 in an entry for target 'cuda', got 'f64'}}
  %2 = math.exp %1 : f64
  return %2 : f64
}
