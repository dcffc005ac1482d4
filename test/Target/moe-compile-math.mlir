// Math functions are linked into the code of either target, the same ones, and
// nothing else has to be there at run time but the C library's fma, on CPUs
// that have no instruction for it.
// RUN: moe-compile %s --emit=llvm | FileCheck %s --check-prefix=HOST
// RUN: moe-compile %s --emit=ptx --target cuda | FileCheck %s --check-prefix=PTX --implicit-check-not=.ftz --implicit-check-not=.approx
// RUN: moe-compile %s -o %t.so && llvm-readelf --dyn-syms %t.so | FileCheck %s --check-prefix=NEEDS

// HOST-NOT: declare {{.*}}moe_math
// HOST: define internal {{.*}}@moe_math_exp
// HOST: call {{.*}}double @llvm.fma.f64
// HOST: define internal {{.*}}@moe_math_sin
// HOST-NOT: fmuladd
// HOST-NOT: @moe_math_tanh

// PTX: .const .align 8
// PTX: fma.rn.f64
// PTX: cvt.rn.f32.f64

// NEEDS-NOT: UND sin
// NEEDS-NOT: UND exp
#id = affine_map<(i) -> (i)>
func.func @layer(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]}
      outs(%x : tensor<?xf32>) {
  ^bb0(%a: f32):
    %e = math.exp %a : f32
    %s = math.sin %e : f32
    %d = arith.divf %s, %a : f32
    linalg.yield %d : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}
