// The layers of a model share one lowering of each op, one kernel, and the
// memory of one layer.
//
// RUN: moe-compile %s --report -o %t.so | FileCheck %s
// RUN: moe-compile %s --target cuda --emit=ptx | FileCheck %s --check-prefix=PTX
// RUN: moe-compile %s --target cuda --report -o %t.cuda.so | FileCheck %s --check-prefix=CUDA

// CHECK:      moe.dispatch moe-compile-layers.mlir:{{[0-9]+}}:{{[0-9]+}} 32 148 {{[0-9]+}} 2368 moe_dispatch{{$}}
// CHECK-NEXT: moe.combine {{.*}} moe_combine{{$}}
// CHECK-NEXT: moe.dispatch {{.*}} moe_dispatch{{$}}
// CHECK-NEXT: moe.combine {{.*}} moe_combine{{$}}
// CHECK-NEXT: moe.dispatch {{.*}} 2368{{$}}
// CHECK-NEXT: moe.combine {{.*}} 2048{{$}}
// CHECK-NEXT: ranks: 2
// One layer: rows 32 x 128, expert ids and weights 32 x 8 each, sources 32 x 4.
// CHECK-NEXT: symmetric workspace: 6656 bytes per rank, {{[0-9]+}} of them kept from run to run
// CHECK-NEXT: entry
// CHECK-NEXT: main shared {{[0-9]+}} 4736
// CUDA:       main shared {{[0-9]+}} 4736

// PTX-COUNT-4: .visible .entry
// PTX-NOT:     .visible .entry
shard.grid @ep(shape = 2)
func.func @main(%x0: tensor<16x64xbf16>, %i: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x64xbf16> {
  %a:7 = moe.dispatch %x0, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x64xbf16>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<32x64xbf16>, tensor<32x2xi32>, tensor<32x2xf32>, tensor<32xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<16x2xi32>)
  %x1 = moe.combine %a#0, %a#6, %a#3, %a#5 on @ep {num_experts = 8 : i64}
    : (tensor<32x64xbf16>, tensor<16x2xi32>, tensor<32xi32>, tensor<2xi32>)
   -> tensor<16x64xbf16>
  %b:7 = moe.dispatch %x1, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x64xbf16>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<32x64xbf16>, tensor<32x2xi32>, tensor<32x2xf32>, tensor<32xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<16x2xi32>)
  %x2 = moe.combine %b#0, %b#6, %b#3, %b#5 on @ep {num_experts = 8 : i64}
    : (tensor<32x64xbf16>, tensor<16x2xi32>, tensor<32xi32>, tensor<2xi32>)
   -> tensor<16x64xbf16>
  // Of another number of experts.
  %c:7 = moe.dispatch %x2, %i, %w on @ep {num_experts = 16 : i64}
    : (tensor<16x64xbf16>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<32x64xbf16>, tensor<32x2xi32>, tensor<32x2xf32>, tensor<32xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<16x2xi32>)
  %x3 = moe.combine %c#0, %c#6, %c#3, %c#5 on @ep {num_experts = 16 : i64}
    : (tensor<32x64xbf16>, tensor<16x2xi32>, tensor<32xi32>, tensor<2xi32>)
   -> tensor<16x64xbf16>
  return %x3 : tensor<16x64xbf16>
}
