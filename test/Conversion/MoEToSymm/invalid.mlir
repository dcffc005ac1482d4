// What convert-moe-to-symm needs of its input.
//
// RUN: moe-opt %s --convert-moe-to-symm -split-input-file -verify-diagnostics

shard.grid @ep(shape = 2)
func.func @tensor_form(%send: tensor<3x4xf32>, %n: tensor<2xi32>)
    -> tensor<6x4xf32> {
  // expected-error @+1 {{'moe.alltoallv' op expects its memref form; run one-shot-bufferize before convert-moe-to-symm}}
  %r:2 = moe.alltoallv %send, %n on @ep
    : (tensor<3x4xf32>, tensor<2xi32>) -> (tensor<6x4xf32>, tensor<2xi32>)
  return %r#0 : tensor<6x4xf32>
}

// -----

shard.grid @ep(shape = 2)
func.func @dispatch_not_symmetric(%x: memref<3x4xf32>, %rows: memref<3x2xi32>,
                                  %recv: memref<6x4xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects operand #2 ('memref<6x4xf32>') in symmetric memory; run moe-place-symmetric-buffers before convert-moe-to-symm}}
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x2xi32>, memref<6x4xf32>) -> ()
  return
}

// -----

// Each buffer that peers write has to be symmetric.
shard.grid @ep(shape = 2)
func.func @dispatch_one_not_symmetric(
    %x: memref<3x4xf32>, %idx: memref<3x1xi32>, %w: memref<3x1xf32>,
    %recv_x: memref<6x4xf32, #symm.space>,
    %recv_idx: memref<6x1xi32, #symm.space>,
    %recv_w: memref<6x1xf32, #symm.space>, %src: memref<6xi32>,
    %to: memref<2xi32>, %from: memref<2xi32>, %rows: memref<3x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects operand #6 ('memref<6xi32>') in symmetric memory; run moe-place-symmetric-buffers before convert-moe-to-symm}}
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows) on @ep {
      num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x1xi32>, memref<3x1xf32>,
       memref<6x4xf32, #symm.space>, memref<6x1xi32, #symm.space>,
       memref<6x1xf32, #symm.space>, memref<6xi32>, memref<2xi32>,
       memref<2xi32>, memref<3x2xi32>) -> ()
  return
}

// -----

// A combine that pulls reads the weights of its peers too.
shard.grid @ep(shape = 2)
func.func @combine_weights_not_symmetric(
    %y: memref<6x4xf32, #symm.space>, %rows: memref<3x2xi32>,
    %src: memref<6xi32>, %n: memref<2xi32>, %w: memref<6xf32>,
    %out: memref<3x4xf32>) {
  // expected-error @+1 {{'moe.combine' op expects operand #4 ('memref<6xf32>') in symmetric memory; run moe-place-symmetric-buffers before convert-moe-to-symm}}
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 4 : i64}
    : (memref<6x4xf32, #symm.space>, memref<3x2xi32>, memref<6xi32>,
       memref<2xi32>, memref<6xf32>, memref<3x4xf32>) -> ()
  return
}

// -----

// Memory that the module reuses cannot be released later (combine_s6).
shard.grid @ep(shape = 2)
func.func @combine_deferred_of_own_buffer(%rows: memref<3x2xi32>,
    %src: memref<6xi32>, %n: memref<2xi32>, %out: memref<3x4xf32>) {
  %y = symm.alloc : memref<6x4xf32, #symm.space>
  // expected-error @+1 {{'moe.combine' op expects 'y' to be a 'moe.symmetric' argument of the entry with 'defer_release'}}
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      defer_release, num_experts = 4 : i64}
    : (memref<6x4xf32, #symm.space>, memref<3x2xi32>, memref<6xi32>,
       memref<2xi32>, memref<3x4xf32>) -> ()
  return
}

// -----

// So are the weights of its rows, which other ranks read as well.
shard.grid @ep(shape = 2)
func.func @combine_deferred_with_own_weights(%y: memref<6x4xf32, #symm.space>,
    %rows: memref<3x2xi32>, %src: memref<6xi32>, %n: memref<2xi32>, %out: memref<3x4xf32>) {
  %w = symm.alloc : memref<6xf32, #symm.space>
  // expected-error @+1 {{'moe.combine' op expects 'weights' to be a 'moe.symmetric' argument of the entry with 'defer_release'}}
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      defer_release, num_experts = 4 : i64}
    : (memref<6x4xf32, #symm.space>, memref<3x2xi32>, memref<6xi32>,
       memref<2xi32>, memref<6xf32, #symm.space>, memref<3x4xf32>) -> ()
  return
}

// -----

// A private function is called with memory of the module, too.
shard.grid @ep(shape = 2)
func.func private @combine_deferred_in_helper(%y: memref<6x4xf32, #symm.space>,
    %rows: memref<3x2xi32>, %src: memref<6xi32>, %n: memref<2xi32>, %out: memref<3x4xf32>) {
  // expected-error @+1 {{'moe.combine' op expects 'y' to be a 'moe.symmetric' argument of the entry with 'defer_release'}}
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      defer_release, num_experts = 4 : i64}
    : (memref<6x4xf32, #symm.space>, memref<3x2xi32>, memref<6xi32>,
       memref<2xi32>, memref<3x4xf32>) -> ()
  return
}

// -----

// What a loop carries may be another buffer in its next round.
shard.grid @ep(shape = 2)
func.func @combine_deferred_in_loop(%a: memref<6x4xf32, #symm.space>,
    %b: memref<6x4xf32, #symm.space>, %rows: memref<3x2xi32>, %src: memref<6xi32>,
    %n: memref<2xi32>, %out: memref<3x4xf32>, %from: index, %to: index, %step: index) {
  %last = scf.for %i = %from to %to step %step iter_args(%y = %a) -> (memref<6x4xf32, #symm.space>) {
    // expected-error @+1 {{'moe.combine' op expects 'y' to be a 'moe.symmetric' argument of the entry with 'defer_release'}}
    moe.combine %y, %rows, %src, %n outs(%out) on @ep {
        defer_release, num_experts = 4 : i64}
      : (memref<6x4xf32, #symm.space>, memref<3x2xi32>, memref<6xi32>,
         memref<2xi32>, memref<3x4xf32>) -> ()
    scf.yield %b : memref<6x4xf32, #symm.space>
  }
  return
}

