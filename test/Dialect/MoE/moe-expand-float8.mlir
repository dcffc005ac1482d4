// RUN: moe-opt %s --moe-expand-float8 --split-input-file | FileCheck %s

// Normal numbers: shifted, with another bias ((127 - 7) << 23). Subnormal ones
// (below 8): the mantissa times 2^-9. NaN is 0x7f.
// CHECK-LABEL: func.func @extf_f8E4M3FN
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: f8E4M3FN) -> f32
// CHECK-DAG: %[[NAN:[a-z0-9_]+]] = arith.constant 2143289344 : i32
// CHECK-DAG: %[[MAX:[a-z0-9_]+]] = arith.constant 126 : i32
// CHECK-DAG: %[[MIN_NORMAL:[a-z0-9_]+]] = arith.constant 8 : i32
// CHECK-DAG: %[[SMALLEST:[a-z0-9_]+]] = arith.constant 0.001953125 : f32
// CHECK-DAG: %[[BIAS:[a-z0-9_]+]] = arith.constant 1006632960 : i32
// CHECK: %[[BYTE:[a-z0-9_]+]] = arith.bitcast %[[X]] : f8E4M3FN to i8
// CHECK: arith.extui %[[BYTE]] : i8 to i32
// CHECK: %[[SHIFTED:[a-z0-9_]+]] = arith.shli
// CHECK: %[[NORMAL:[a-z0-9_]+]] = arith.addi %{{.*}}, %[[BIAS]]
// CHECK: %[[MANTISSA:[a-z0-9_]+]] = arith.uitofp
// CHECK: %[[PRODUCT:[a-z0-9_]+]] = arith.mulf %[[MANTISSA]], %[[SMALLEST]]
// CHECK: %[[SUBNORMAL:[a-z0-9_]+]] = arith.bitcast %[[PRODUCT]] : f32 to i32
// CHECK: %[[IS_SUBNORMAL:[a-z0-9_]+]] = arith.cmpi ult, %[[MAGNITUDE:[a-z0-9_]+]], %[[MIN_NORMAL]]
// CHECK: %[[FINITE:[a-z0-9_]+]] = arith.select %[[IS_SUBNORMAL]], %[[SUBNORMAL]], %[[NORMAL]]
// CHECK: %[[IS_NAN:[a-z0-9_]+]] = arith.cmpi ugt, %[[MAGNITUDE]], %[[MAX]]
// CHECK: %[[VALUE:[a-z0-9_]+]] = arith.select %[[IS_NAN]], %[[NAN]], %[[FINITE]]
// CHECK: %[[BITS:[a-z0-9_]+]] = arith.ori %{{.*}}, %[[VALUE]]
// CHECK: %[[RESULT:[a-z0-9_]+]] = arith.bitcast %[[BITS]] : i32 to f32
// CHECK: return %[[RESULT]]
func.func @extf_f8E4M3FN(%x: f8E4M3FN) -> f32 {
  %0 = arith.extf %x : f8E4M3FN to f32
  return %0 : f32
}

// -----

// With infinity.
// CHECK-LABEL: func.func @extf_f8E5M2
// CHECK-DAG: %[[INF:[a-z0-9_]+]] = arith.constant 2139095040 : i32
// CHECK-DAG: %[[INF8:[a-z0-9_]+]] = arith.constant 124 : i32
// CHECK-NOT: arith.extf
// CHECK: %[[IS_INF:[a-z0-9_]+]] = arith.cmpi eq, %{{.*}}, %[[INF8]]
// CHECK: arith.select %[[IS_INF]], %[[INF]],
// CHECK: arith.bitcast %{{.*}} : i32 to f32
func.func @extf_f8E5M2(%x: f8E5M2) -> f32 {
  %0 = arith.extf %x : f8E5M2 to f32
  return %0 : f32
}

// -----

// Beyond 448 (0x7e) is NaN (0x7f).
// CHECK-LABEL: func.func @truncf_f8E4M3FN
// CHECK-DAG: %[[NAN:[a-z0-9_]+]] = arith.constant 127 : i32
// CHECK-DAG: %[[MAX:[a-z0-9_]+]] = arith.constant 126 : i32
// CHECK-DAG: %[[MAGIC:[a-z0-9_]+]] = arith.constant 1.638400e+04 : f32
// CHECK-NOT: arith.truncf
// CHECK: arith.addf %{{.*}}, %[[MAGIC]]
// CHECK: %[[OVERFLOWS:[a-z0-9_]+]] = arith.cmpi sgt, %[[ROUNDED:[a-z0-9_]+]], %[[MAX]]
// CHECK: arith.select %[[OVERFLOWS]], %[[NAN]], %[[ROUNDED]]
// CHECK: %[[BYTE:[a-z0-9_]+]] = arith.trunci %{{.*}} : i32 to i8
// CHECK: arith.bitcast %[[BYTE]] : i8 to f8E4M3FN
func.func @truncf_f8E4M3FN(%x: f32) -> f8E4M3FN {
  %0 = arith.truncf %x : f32 to f8E4M3FN
  return %0 : f8E4M3FN
}

// -----

// Beyond 57344 (0x7b) is infinity (0x7c).
// CHECK-LABEL: func.func @truncf_f8E5M2
// CHECK-DAG: %[[INF:[a-z0-9_]+]] = arith.constant 124 : i32
// CHECK-DAG: %[[MAX:[a-z0-9_]+]] = arith.constant 123 : i32
// CHECK-NOT: arith.truncf
// CHECK: %[[OVERFLOWS:[a-z0-9_]+]] = arith.cmpi sgt, %[[ROUNDED:[a-z0-9_]+]], %[[MAX]]
// CHECK: arith.select %[[OVERFLOWS]], %[[INF]], %[[ROUNDED]]
// CHECK: arith.bitcast %{{.*}} : i8 to f8E5M2
func.func @truncf_f8E5M2(%x: f32) -> f8E5M2 {
  %0 = arith.truncf %x : f32 to f8E5M2
  return %0 : f8E5M2
}

// -----

// Other conversions are not this pass's affair.
// CHECK-LABEL: func.func @others
// CHECK: arith.extf %{{.*}} : bf16 to f32
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK: arith.truncf %{{.*}} : f64 to f8E5M2
// CHECK: arith.extf %{{.*}} : f8E4M3FNUZ to f32
func.func @others(%a: bf16, %b: f32, %c: f64, %e: f8E4M3FNUZ)
    -> (f32, f16, f8E5M2, f32) {
  %0 = arith.extf %a : bf16 to f32
  %1 = arith.truncf %b : f32 to f16
  %2 = arith.truncf %c : f64 to f8E5M2
  %3 = arith.extf %e : f8E4M3FNUZ to f32
  return %0, %1, %2, %3 : f32, f16, f8E5M2, f32
}

// -----

// By way of f32, which holds the values of both.
// CHECK-LABEL: func.func @small_floats
// CHECK-SAME: (%[[A:[a-z0-9_]+]]: f8E4M3FN, %[[B:[a-z0-9_]+]]: bf16)
// CHECK: arith.bitcast %[[A]] : f8E4M3FN to i8
// CHECK: %[[WIDE:[a-z0-9_]+]] = arith.bitcast %{{.*}} : i32 to f32
// CHECK: %[[NARROW:[a-z0-9_]+]] = arith.truncf %[[WIDE]] : f32 to bf16
// CHECK: %[[WIDENED:[a-z0-9_]+]] = arith.extf %[[B]] : bf16 to f32
// CHECK: arith.bitcast %[[WIDENED]] : f32 to i32
// CHECK: %[[BYTE:[a-z0-9_]+]] = arith.bitcast %{{.*}} : i8 to f8E5M2
// CHECK: return %[[NARROW]], %[[BYTE]]
func.func @small_floats(%a: f8E4M3FN, %b: bf16) -> (bf16, f8E5M2) {
  %0 = arith.extf %a : f8E4M3FN to bf16
  %1 = arith.truncf %b : bf16 to f8E5M2
  return %0, %1 : bf16, f8E5M2
}

// -----

// Vectors, as kernels have them: element by element the same.
// CHECK-LABEL: func.func @vectors
// CHECK-NOT: arith.extf
// CHECK: arith.bitcast %{{.*}} : vector<4xf8E5M2> to vector<4xi8>
// CHECK: arith.extui %{{.*}} : vector<4xi8> to vector<4xi32>
// CHECK: %[[WIDE:[a-z0-9_]+]] = arith.bitcast %{{.*}} : vector<4xi32> to vector<4xf32>
// CHECK-NOT: arith.truncf
// CHECK: arith.bitcast %[[WIDE]] : vector<4xf32> to vector<4xi32>
// CHECK: %[[BYTES:[a-z0-9_]+]] = arith.trunci %{{.*}} : vector<4xi32> to vector<4xi8>
// CHECK: %[[RESULT:[a-z0-9_]+]] = arith.bitcast %[[BYTES]] : vector<4xi8> to vector<4xf8E4M3FN>
// CHECK: return %[[RESULT]]
func.func @vectors(%x: vector<4xf8E5M2>) -> vector<4xf8E4M3FN> {
  %0 = arith.extf %x : vector<4xf8E5M2> to vector<4xf32>
  %1 = arith.truncf %0 : vector<4xf32> to vector<4xf8E4M3FN>
  return %1 : vector<4xf8E4M3FN>
}

// -----

// CHECK-LABEL: func.func @to_f64
// CHECK-NOT: f8E4M3FN to f64
// CHECK: %[[WIDE:[a-z0-9_]+]] = arith.bitcast %{{.*}} : i32 to f32
// CHECK: arith.extf %[[WIDE]] : f32 to f64
func.func @to_f64(%x: f8E4M3FN) -> f64 {
  %0 = arith.extf %x : f8E4M3FN to f64
  return %0 : f64
}
