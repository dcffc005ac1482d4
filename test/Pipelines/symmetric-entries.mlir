// A dispatch and a combine that are two entries: rows stay in the workspace
// from one to the other, and nothing is copied on either target
// (symmetric_s1, symmetric_s2).
//
// RUN: moe-compile %s --emit=symm --remarks=moe-place-symmetric-buffers 2> %t.host.err \
// RUN:   | FileCheck %s --implicit-check-not=memref.copy
// RUN: FileCheck %s --check-prefix=QUIET --allow-empty < %t.host.err
// RUN: moe-compile %s --target cuda --emit=symm --remarks=moe-place-symmetric-buffers 2> %t.cuda.err \
// RUN:   | FileCheck %s --implicit-check-not=memref.copy
// RUN: FileCheck %s --check-prefix=QUIET --allow-empty < %t.cuda.err
// QUIET-NOT: symmetric-buffer
// RUN: moe-compile %s -o %t.host.so
// RUN: llvm-strings %t.host.so | FileCheck %s --check-prefix=MANIFEST
// RUN: moe-compile %s --target cuda -o %t.cuda.so
// RUN: llvm-strings %t.cuda.so | FileCheck %s --check-prefix=MANIFEST

// Its place in the workspace is its own: after it come the flags of dispatch.
// CHECK-LABEL: func.func @dispatch(
// CHECK: %[[SYMM:[a-z0-9_]+]] = symm.alloc persistent result 0 at 0 : memref<512x64xbf16, #symm.space>
// CHECK: %[[RECV:[a-z0-9_]+]] = memref.memory_space_cast %[[SYMM]]
// CHECK-NOT: symm.free %[[SYMM]] :
// CHECK: return %[[RECV]],
// CHECK-LABEL: func.func @combine(
// CHECK-SAME: %[[Y:[a-z0-9_]+]]: memref<512x64xbf16>
// CHECK: %[[YS:[a-z0-9_]+]] = memref.memory_space_cast %[[Y]] : memref<512x64xbf16> to memref<512x64xbf16, #symm.space>
// CHECK: symm.peer %[[YS]] at
// CHECK: return

// MANIFEST: {"name":"dispatch","symbol":"moe_entry_dispatch","args":[{"dtype":"bf16","shape":[128,64]},
// MANIFEST-SAME: "results":[{"dtype":"bf16","shape":[512,64],"symmetric":true},{"dtype":"i32","shape":[512],"symmetric":true},
// MANIFEST-SAME: {"name":"combine","symbol":"moe_entry_combine","args":[{"dtype":"bf16","shape":[512,64],"symmetric":true},{"dtype":"i32","shape":[512]},
// MANIFEST-SAME: "results":[{"dtype":"bf16","shape":[128,64]}]
shard.grid @ep(shape = 4)
func.func @dispatch(%x: tensor<128x64xbf16>, %idx: tensor<128x2xi32>,
                    %w: tensor<128x2xf32>)
    -> (tensor<512x64xbf16> {moe.symmetric}, tensor<512xi32> {moe.symmetric},
        tensor<4xi32>, tensor<128x4xi32>) {
  %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
      : (tensor<128x64xbf16>, tensor<128x2xi32>, tensor<128x2xf32>)
     -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
         tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<128x4xi32>)
  return %recv_x, %recv_src, %n_from, %send_row
    : tensor<512x64xbf16>, tensor<512xi32>, tensor<4xi32>, tensor<128x4xi32>
}
func.func @combine(%y: tensor<512x64xbf16> {moe.symmetric},
                   %src: tensor<512xi32>, %n_from: tensor<4xi32>,
                   %send_row: tensor<128x4xi32>) -> tensor<128x64xbf16> {
  %out = moe.combine %y, %send_row, %src, %n_from on @ep
      {num_experts = 8 : i64}
      : (tensor<512x64xbf16>, tensor<128x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<128x64xbf16>
  return %out : tensor<128x64xbf16>
}
