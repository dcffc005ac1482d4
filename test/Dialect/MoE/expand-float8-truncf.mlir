// What the expansion computes, by folding it.
//
// RUN: moe-opt %s --moe-expand-float8 --inline --canonicalize | FileCheck %s

func.func private @truncf_f8E4M3FN(%x: f32) -> f8E4M3FN {
  %0 = arith.truncf %x : f32 to f8E4M3FN
  return %0 : f8E4M3FN
}
func.func private @truncf_f8E5M2(%x: f32) -> f8E5M2 {
  %0 = arith.truncf %x : f32 to f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_0
// CHECK: arith.constant 0.000000e+00 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_0() -> f8E4M3FN {
  %x = arith.constant 0.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_1
// CHECK: arith.constant -0.000000e+00 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_1() -> f8E4M3FN {
  %x = arith.constant -0.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_2
// CHECK: arith.constant 4.480000e+02 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_2() -> f8E4M3FN {
  %x = arith.constant 448.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// A tie: to even.
// CHECK-LABEL: func.func @truncf_f8E4M3FN_3
// CHECK: arith.constant 4.480000e+02 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_3() -> f8E4M3FN {
  %x = arith.constant 464.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// Out of range.
// CHECK-LABEL: func.func @truncf_f8E4M3FN_4
// CHECK: arith.constant 0x7F : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_4() -> f8E4M3FN {
  %x = arith.constant 464.1 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_5
// CHECK: arith.constant 0xFF : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_5() -> f8E4M3FN {
  %x = arith.constant -500.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_6
// CHECK: arith.constant 0x7F : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_6() -> f8E4M3FN {
  %x = arith.constant 0x7F800000 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_7
// CHECK: arith.constant 0xFF : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_7() -> f8E4M3FN {
  %x = arith.constant 0xFF800000 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_8
// CHECK: arith.constant 0x7F : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_8() -> f8E4M3FN {
  %x = arith.constant 0x7FC00000 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// Ties: to even.
// CHECK-LABEL: func.func @truncf_f8E4M3FN_9
// CHECK: arith.constant 1.600000e+01 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_9() -> f8E4M3FN {
  %x = arith.constant 17.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_10
// CHECK: arith.constant 2.000000e+01 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_10() -> f8E4M3FN {
  %x = arith.constant 19.0 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_11
// CHECK: arith.constant 1.562500e-02 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_11() -> f8E4M3FN {
  %x = arith.constant 0.015625 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// The smallest subnormal, half of it, more than half of it, 1.5 of it.
// CHECK-LABEL: func.func @truncf_f8E4M3FN_12
// CHECK: arith.constant 1.953130e-03 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_12() -> f8E4M3FN {
  %x = arith.constant 0.001953125 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_13
// CHECK: arith.constant 0.000000e+00 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_13() -> f8E4M3FN {
  %x = arith.constant 0.0009765625 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_14
// CHECK: arith.constant 1.953130e-03 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_14() -> f8E4M3FN {
  %x = arith.constant 0.0009766 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_15
// CHECK: arith.constant 3.906250e-03 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_15() -> f8E4M3FN {
  %x = arith.constant 0.0029296875 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// The largest subnormal rounds to the smallest normal number.
// CHECK-LABEL: func.func @truncf_f8E4M3FN_16
// CHECK: arith.constant 1.562500e-02 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_16() -> f8E4M3FN {
  %x = arith.constant 0.0150 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E4M3FN_17
// CHECK: arith.constant 0.000000e+00 : f8E4M3FN
// CHECK-NEXT: return
func.func @truncf_f8E4M3FN_17() -> f8E4M3FN {
  %x = arith.constant 1.0e-40 : f32
  %0 = call @truncf_f8E4M3FN(%x) : (f32) -> f8E4M3FN
  return %0 : f8E4M3FN
}

// CHECK-LABEL: func.func @truncf_f8E5M2_0
// CHECK: arith.constant -0.000000e+00 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_0() -> f8E5M2 {
  %x = arith.constant -0.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_1
// CHECK: arith.constant 5.734400e+04 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_1() -> f8E5M2 {
  %x = arith.constant 57344.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_2
// CHECK: arith.constant 5.734400e+04 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_2() -> f8E5M2 {
  %x = arith.constant 61439.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// A tie that rounds out of range.
// CHECK-LABEL: func.func @truncf_f8E5M2_3
// CHECK: arith.constant 0x7C : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_3() -> f8E5M2 {
  %x = arith.constant 61440.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_4
// CHECK: arith.constant 0xFC : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_4() -> f8E5M2 {
  %x = arith.constant -70000.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_5
// CHECK: arith.constant 0x7C : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_5() -> f8E5M2 {
  %x = arith.constant 0x7F800000 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_6
// CHECK: arith.constant 0x7E : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_6() -> f8E5M2 {
  %x = arith.constant 0x7FC00000 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// Ties: to even.
// CHECK-LABEL: func.func @truncf_f8E5M2_7
// CHECK: arith.constant 8.000000e+00 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_7() -> f8E5M2 {
  %x = arith.constant 9.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_8
// CHECK: arith.constant 1.200000e+01 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_8() -> f8E5M2 {
  %x = arith.constant 11.0 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// The smallest subnormal, half of it, more than half of it.
// CHECK-LABEL: func.func @truncf_f8E5M2_9
// CHECK: arith.constant 1.525880e-05 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_9() -> f8E5M2 {
  %x = arith.constant 0.0000152587890625 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_10
// CHECK: arith.constant 0.000000e+00 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_10() -> f8E5M2 {
  %x = arith.constant 0.00000762939453125 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}

// CHECK-LABEL: func.func @truncf_f8E5M2_11
// CHECK: arith.constant 1.525880e-05 : f8E5M2
// CHECK-NEXT: return
func.func @truncf_f8E5M2_11() -> f8E5M2 {
  %x = arith.constant 0.00000763 : f32
  %0 = call @truncf_f8E5M2(%x) : (f32) -> f8E5M2
  return %0 : f8E5M2
}
