// RUN: moe-opt %s --moe-kernels-to-fibers --split-input-file --verify-diagnostics

func.func @dimensions(%n: index) {
  %one = arith.constant 1 : index
  // expected-error@+1 {{expects a grid and blocks of one dimension}}
  gpu.launch blocks(%b, %by, %bz) in (%gx = %n, %gy = %n, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %n, %sy = %one, %sz = %one) {
    gpu.terminator
  }
  return
}

// -----

func.func @mode(%n: index) {
  %one = arith.constant 1 : index
  gpu.launch blocks(%b, %by, %bz) in (%gx = %n, %gy = %one, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %n, %sy = %one, %sz = %one) {
    %i1 = arith.constant 1 : i32
    %i32 = arith.constant 32 : i32
    // expected-error@+1 {{expects mode 'idx' in a kernel for fibers}}
    %other, %valid = gpu.shuffle xor %i1, %i1, %i32 : i32
    gpu.terminator
  }
  return
}

// -----

func.func @unknown(%n: index) {
  %one = arith.constant 1 : index
  gpu.launch blocks(%b, %by, %bz) in (%gx = %n, %gy = %one, %gz = %one)
      threads(%t, %ty, %tz) in (%sx = %n, %sy = %one, %sz = %one) {
    // expected-error@+1 {{is not supported in a kernel for fibers}}
    %lane = gpu.lane_id
    gpu.terminator
  }
  return
}
