// RUN: moe-opt %s --convert-moe-to-coll -split-input-file -verify-diagnostics

shard.grid @ep(shape = 4)
func.func @tensors(%send: tensor<8x4xf32>, %counts: tensor<4xi32>)
    -> (tensor<16x4xf32>, tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects its memref form; run one-shot-bufferize before convert-moe-to-coll}}
  %recv, %n = moe.alltoallv %send, %counts on @ep
    : (tensor<8x4xf32>, tensor<4xi32>) -> (tensor<16x4xf32>, tensor<4xi32>)
  return %recv, %n : tensor<16x4xf32>, tensor<4xi32>
}

// -----

// coll_s5: a far rank has no memory that this one could put rows into.
func.func @put(%x: memref<4xf32>, %recv: memref<4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put' op expects ranks that share memory; ranks that exchange messages (transport messages) have 'coll' ops only}}
  symm.put %x[%i] to %recv[%i] at %i : memref<4xf32> to memref<4xf32, #symm.space>
  return
}

// -----

// coll_s5
func.func @alloc() {
  // expected-error @+1 {{'symm.alloc' op expects ranks that share memory}}
  %0 = symm.alloc : memref<4xf32, #symm.space>
  return
}

// -----

// Those that touch no memory of others may stay.
func.func @rank(%ok: i1, %n: i64) -> index {
  symm.collective_begin "mine" site 0
  symm.phase "check"
  symm.check %ok, invalid_count, "number" expected %n seen %n
  symm.collective_end
  %me = symm.rank
  return %me : index
}
