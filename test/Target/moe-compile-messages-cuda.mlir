// An artifact for GPUs that exchange messages: nothing of it reaches the memory
// of other ranks.
//
// RUN: moe-compile %s --target nccl -o %t.so
// RUN: llvm-strings %t.so | FileCheck %s --check-prefix=MANIFEST
// RUN: llvm-nm -D --undefined-only %t.so | FileCheck %s --check-prefixes=SYMBOLS,PADDED
// RUN: moe-compile %s --target nccl --schedule=exact -o %t.exact.so
// RUN: llvm-nm -D --undefined-only %t.exact.so | FileCheck %s --check-prefixes=SYMBOLS,EXACT
// RUN: moe-compile %s --target cuda --transport=messages -o %t.same.so
// RUN: cmp %t.so %t.same.so
// RUN: moe-compile %s --target nccl:sm_80 --emit=ptx | FileCheck %s --check-prefix=PTX
// RUN: moe-compile %s --transport=messages --kernels=fibers --blocks=2 --threads=64 --schedule=exact --emit=coll | FileCheck %s --check-prefix=FIBERS

// MANIFEST: "target":"cuda"
// MANIFEST-SAME: "symm_bytes":0,"transport":"messages","entries":

// SYMBOLS-NOT: moert_symm
// SYMBOLS-DAG: moert_all_gather
// SYMBOLS-DAG: moert_all_to_all
// SYMBOLS-DAG: moert_exchange_begin
// SYMBOLS-DAG: moert_exchange_end
// SYMBOLS-DAG: moert_exchange_rows
// SYMBOLS-DAG: moert_launch
// EXACT-DAG: moert_read
// Of few tokens no table is read.
// PADDED-NOT: moert_read
// SYMBOLS-NOT: moert_wait

// No signals, which are release stores of 64 bits.
// PTX: .target sm_80
// PTX-NOT: st.release.sys.global.b64

// FIBERS: gpu.launch
// FIBERS: coll.all_gather
// FIBERS: coll.read
shard.grid @ep(shape = 4)
func.func @roundtrip(%x: tensor<?x64xbf16>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x64xbf16> {
  %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
         tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  %out = moe.combine %recv_x, %send_row, %recv_src, %n_from on @ep
      {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<512x64xbf16>, tensor<?x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<?x64xbf16>
  return %out : tensor<?x64xbf16>
}
