// The code around an exchange: loops become kernels, math functions come from the
// library, and what host code computes with is fetched.
// RUN: moe-compile %s --target cuda --emit=ptx | FileCheck %s
// RUN: moe-compile %s --target cuda --emit=llvm | FileCheck %s --check-prefix=HOST
// RUN: sed 's/f32/f64/g' %s > %t.f64.mlir
// RUN: not moe-compile %t.f64.mlir --target cuda --emit=ptx 2>&1 | FileCheck %s --check-prefix=F64

// The first version of PTX that knows a chip, if that is later than 8.0.
// RUN: moe-compile %s --target cuda:sm_100 --emit=ptx | FileCheck %s --check-prefix=NEW
// NEW: .version 8.6

// CHECK: .version 8.0
// CHECK-NOT: extern
// CHECK: .visible .entry silu_kernel(
// CHECK: %nctaid.x
// CHECK: call.uni (retval0), moe_math_exp,
// CHECK: div.rn.f32
// CHECK: .visible .entry digits_kernel(
// CHECK: call.uni (retval0), moe_math_log10,
// CHECK: st.global
// CHECK: .visible .entry first_kernel(
// CHECK: add.s64

// Constants are copied to the device.
// HOST-LABEL: define {{.*}}@moe_entry_table
// HOST: call void @moert_copy(ptr {{.*}}, ptr {{.*}}@{{.*}}constant{{.*}}, i64 16)
// HOST-LABEL: define {{.*}}@moe_entry_first
// HOST: call void @moert_read(ptr {{.*}}, i64 8)
// HOST: call void @moert_copy(

// F64: [[#@LINE+7]]:10: error: 'math.exp' op expects values of f32, f16, bf16, f8E4M3FN or f8E5M2 in an entry for target 'cuda', got 'f64'
#map = affine_map<(i) -> (i)>
func.func @silu(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]}
      outs(%x : tensor<?xf32>) {
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %one = arith.constant 1.0 : f32
    %d = arith.addf %one, %e : f32
    %r = arith.divf %a, %d : f32
    linalg.yield %r : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}
func.func @digits(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]}
      outs(%x : tensor<?xf32>) {
  ^bb0(%a: f32):
    %l = math.log10 %a : f32
    %r = math.round %l : f32
    linalg.yield %r : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}
func.func @table(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]}
      ins(%c : tensor<4xf32>) outs(%x : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %r = arith.mulf %a, %b : f32
    linalg.yield %r : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func @first(%x: tensor<?xi64>, %n: tensor<1xi64>) -> tensor<?xi64> {
  %c0 = arith.constant 0 : index
  %v = tensor.extract %n[%c0] : tensor<1xi64>
  %i = arith.index_cast %v : i64 to index
  %s = tensor.extract_slice %x[0] [%i] [1] : tensor<?xi64> to tensor<?xi64>
  %y = linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]}
      outs(%s : tensor<?xi64>) {
  ^bb0(%a: i64):
    %r = arith.addi %a, %v : i64
    linalg.yield %r : i64
  } -> tensor<?xi64>
  return %y : tensor<?xi64>
}
