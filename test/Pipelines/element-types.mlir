// Arithmetic on types that CPUs lack is done in f32; no conversion that would
// need a library function is left.
// RUN: moe-opt %s --moe-to-host | FileCheck %s

// CHECK-NOT: llvm.fptrunc {{.*}} to bf16
// CHECK-NOT: f8E4M3FN)
// CHECK-LABEL: llvm.func internal @local.add_bf16(
// CHECK: llvm.fadd %{{.*}}, %{{.*}} : f32
#id = affine_map<(i) -> (i)>
func.func @add_bf16(%x: tensor<?xbf16>) -> tensor<?xbf16> {
  %y = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]}
      outs(%x : tensor<?xbf16>) {
  ^bb0(%a: bf16):
    %s = arith.addf %a, %a : bf16
    linalg.yield %s : bf16
  } -> tensor<?xbf16>
  return %y : tensor<?xbf16>
}

// CHECK-LABEL: llvm.func internal @local.mul_f8(
// CHECK: llvm.fmul %{{.*}}, %{{.*}} : f32
func.func @mul_f8(%x: tensor<?xf8E4M3FN>) -> tensor<?xf8E4M3FN> {
  %y = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]}
      outs(%x : tensor<?xf8E4M3FN>) {
  ^bb0(%a: f8E4M3FN):
    %s = arith.mulf %a, %a : f8E4M3FN
    linalg.yield %s : f8E4M3FN
  } -> tensor<?xf8E4M3FN>
  return %y : tensor<?xf8E4M3FN>
}
