// RUN: moe-opt %s -split-input-file --moe-rename-symbols | FileCheck %s
// RUN: moe-opt %s -split-input-file --moe-rename-symbols --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// A name that every target can use stays.
// CHECK-LABEL: func.func @main(
// CHECK-NOT: moe.entry_name
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  // Calls follow their function.
  // CHECK: call @layer_forward(
  %0 = call @"layer.forward"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: call @f_expf(
  %1 = call @expf(%0) : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
// CHECK: func.func @layer_forward(
// CHECK-SAME: attributes {moe.entry_name = "layer.forward"}
// LOC: func.func @layer_forward({{.*}} loc({{.*}})) -> tensor<4xf32> attributes
func.func @"layer.forward"(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
// Only entries have callers outside: a private function's name is forgotten.
// CHECK: func.func private @f_expf(%{{.*}}: tensor<4xf32>) -> tensor<4xf32> {
func.func private @expf(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// Names that become the same stay apart, and away from those that keep theirs.
// CHECK: func.func @a_b_0() attributes {moe.entry_name = "a-b"}
func.func @"a-b"() { return }
// CHECK: func.func @a_b_1() attributes {moe.entry_name = "a.b"}
func.func @"a.b"() { return }
// CHECK: func.func @a_b() {
func.func @a_b() { return }

// -----

// CHECK: func.func @f_1abc() attributes {moe.entry_name = "1abc"}
func.func @"1abc"() { return }
// CHECK: func.func @f__tid() attributes {moe.entry_name = "%tid"}
func.func @"%tid"() { return }
// CHECK: func.func @a_b_c__d_() attributes {moe.entry_name = "a b/c::d<"}
func.func @"a b/c::d<"() { return }
// CHECK: func.func @say__hi_() attributes {moe.entry_name = "say \22hi\22"}
func.func @"say \"hi\""() { return }
// CHECK: func.func @f___ber() attributes {moe.entry_name = "\C3\BCber"}
func.func @"über"() { return }
// CHECK: func.func @f__() attributes {moe.entry_name = "_"}
func.func @"_"() { return }

// -----

// What lowerings and kernels call.
// CHECK: func.func @f_moert_wait() attributes {moe.entry_name = "moert_wait"}
func.func @moert_wait() { return }
// CHECK: func.func @f_malloc() attributes {moe.entry_name = "malloc"}
func.func @malloc() { return }
// CHECK: func.func @f_memcpy() attributes {moe.entry_name = "memcpy"}
func.func @memcpy() { return }
// CHECK: func.func @f_symm_record() attributes {moe.entry_name = "symm_record"}
func.func @symm_record() { return }
// CHECK: func.func @f_moe_kernels() attributes {moe.entry_name = "moe_kernels"}
func.func @moe_kernels() { return }
// A declaration says what it stands for.
// CHECK: func.func private @moert_rank() -> i64
func.func private @moert_rank() -> i64

// -----

// 97 characters, of which 94 leave room for a prefix.
// CHECK: func.func @aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa() attributes
// CHECK-SAME: {moe.entry_name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
func.func @aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa() { return }

// -----

// CHECK: memref.global "private" constant @weights_0 :
memref.global "private" constant @"weights/0" : memref<2xf32> = dense<[1.0, 2.0]>
// Grids have no code: their names stay.
// CHECK: shard.grid @"ep-1"
shard.grid @"ep-1"(shape = 2)
// CHECK-LABEL: func.func @global(
func.func @global() -> memref<2xf32> {
  // CHECK: memref.get_global @weights_0 : memref<2xf32>
  %0 = memref.get_global @"weights/0" : memref<2xf32>
  return %0 : memref<2xf32>
}
