// What the expansion computes, by folding it.
//
// RUN: moe-opt %s --moe-expand-float8 --inline --canonicalize | FileCheck %s

func.func private @extf_f8E4M3FN(%x: f8E4M3FN) -> f32 {
  %0 = arith.extf %x : f8E4M3FN to f32
  return %0 : f32
}
func.func private @extf_f8E5M2(%x: f8E5M2) -> f32 {
  %0 = arith.extf %x : f8E5M2 to f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_0
// CHECK: arith.constant 0.000000e+00 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_0() -> f32 {
  %x = arith.constant 0x00 : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_1
// CHECK: arith.constant -0.000000e+00 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_1() -> f32 {
  %x = arith.constant 0x80 : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_2
// CHECK: arith.constant 0.001953125 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_2() -> f32 {
  %x = arith.constant 0x01 : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_3
// CHECK: arith.constant 0.013671875 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_3() -> f32 {
  %x = arith.constant 0x07 : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_4
// CHECK: arith.constant 1.562500e-02 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_4() -> f32 {
  %x = arith.constant 0x08 : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_5
// CHECK: arith.constant 4.480000e+02 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_5() -> f32 {
  %x = arith.constant 0x7E : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_6
// CHECK: arith.constant -4.480000e+02 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_6() -> f32 {
  %x = arith.constant 0xFE : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_7
// CHECK: arith.constant 0x7FC00000 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_7() -> f32 {
  %x = arith.constant 0x7F : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E4M3FN_8
// CHECK: arith.constant 0xFFC00000 : f32
// CHECK-NEXT: return
func.func @extf_f8E4M3FN_8() -> f32 {
  %x = arith.constant 0xFF : f8E4M3FN
  %0 = call @extf_f8E4M3FN(%x) : (f8E4M3FN) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_0
// CHECK: arith.constant 1.52587891E-5 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_0() -> f32 {
  %x = arith.constant 0x01 : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_1
// CHECK: arith.constant 4.57763672E-5 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_1() -> f32 {
  %x = arith.constant 0x03 : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_2
// CHECK: arith.constant 6.10351563E-5 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_2() -> f32 {
  %x = arith.constant 0x04 : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_3
// CHECK: arith.constant 5.734400e+04 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_3() -> f32 {
  %x = arith.constant 0x7B : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_4
// CHECK: arith.constant 0x7F800000 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_4() -> f32 {
  %x = arith.constant 0x7C : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_5
// CHECK: arith.constant 0xFF800000 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_5() -> f32 {
  %x = arith.constant 0xFC : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_6
// CHECK: arith.constant 0x7FC00000 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_6() -> f32 {
  %x = arith.constant 0x7D : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}

// CHECK-LABEL: func.func @extf_f8E5M2_7
// CHECK: arith.constant 0xFFC00000 : f32
// CHECK-NEXT: return
func.func @extf_f8E5M2_7() -> f32 {
  %x = arith.constant 0xFE : f8E5M2
  %0 = call @extf_f8E5M2(%x) : (f8E5M2) -> f32
  return %0 : f32
}
