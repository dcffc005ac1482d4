// RUN: moe-opt %s -split-input-file --symm-assign-offsets | FileCheck %s
// RUN: moe-opt %s -split-input-file --symm-assign-offsets --symm-assign-offsets | FileCheck %s

// Lifetimes that follow one another share memory.
// CHECK: module attributes {symm.workspace_bytes = 512 : i64}
// CHECK-LABEL: func.func @sequence(
func.func @sequence() {
  // CHECK: symm.alloc at 0 : memref<100xi32, #symm.space>
  %a = symm.alloc : memref<100xi32, #symm.space>
  symm.free %a : memref<100xi32, #symm.space>
  // CHECK: symm.alloc at 0 : memref<50xi32, #symm.space>
  %b = symm.alloc : memref<50xi32, #symm.space>
  symm.free %b : memref<50xi32, #symm.space>
  return
}

// -----

// Largest first; the small buffer fills the place that the second leaves.
// CHECK: module attributes {symm.workspace_bytes = 2816 : i64}
// CHECK-LABEL: func.func @first_fit(
func.func @first_fit() {
  // CHECK: symm.alloc at 2560 : memref<256xi8, #symm.space>
  %small = symm.alloc : memref<256xi8, #symm.space>
  // CHECK: symm.alloc at 0 : memref<1537xi8, #symm.space>
  %large = symm.alloc : memref<1537xi8, #symm.space>
  // CHECK: symm.alloc at 1792 : memref<768xi8, #symm.space>
  %middle = symm.alloc : memref<768xi8, #symm.space>
  symm.free %middle : memref<768xi8, #symm.space>
  // CHECK: symm.alloc at 1792 : memref<512xi8, #symm.space>
  %late = symm.alloc : memref<512xi8, #symm.space>
  symm.free %small : memref<256xi8, #symm.space>
  symm.free %large : memref<1537xi8, #symm.space>
  symm.free %late : memref<512xi8, #symm.space>
  return
}

// -----

// Persistent buffers come first and keep their memory to themselves. Those that
// fit a cache line of their own lie close together, behind the others.
// CHECK: module attributes {symm.workspace_bytes = 1280 : i64}
// CHECK-LABEL: func.func @persistent(
func.func @persistent() {
  // CHECK: symm.alloc at 1024 : memref<4xi64, #symm.space>
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  // CHECK: symm.alloc persistent at 512 : memref<16xi64, #symm.space>
  %b = symm.alloc persistent : memref<16xi64, #symm.space>
  // CHECK: symm.alloc persistent at 640 : memref<1xi64, #symm.space>
  %c = symm.alloc persistent : memref<1xi64, #symm.space>
  // CHECK: symm.alloc persistent at 0 : memref<33xi64, #symm.space>
  %d = symm.alloc persistent : memref<33xi64, #symm.space>
  // CHECK: symm.alloc persistent at 768 : memref<2xi64, #symm.space>
  %e = symm.alloc persistent : memref<2xi64, #symm.space>
  return
}

// -----

// A rank runs one entry at a time, and is done with the buffers of the last one.
// CHECK: module attributes {symm.workspace_bytes = 512 : i64}
// CHECK-LABEL: func.func @one_entry(
func.func @one_entry() {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<100xi32, #symm.space>
  symm.free %a : memref<100xi32, #symm.space>
  return
}
// CHECK-LABEL: func.func @another_entry(
func.func @another_entry() {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  return
}

// -----

// workspace_s1: an entry with a workspace of its own may run at the same time as others, and
// so may what it calls.
// CHECK: module attributes {symm.workspace_bytes = 1024 : i64}
// CHECK-LABEL: func.func @shares(
func.func @shares() {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  return
}
// CHECK-LABEL: func.func @own(
func.func @own() attributes {symm.own_workspace} {
  // CHECK: symm.alloc at 256
  %a = symm.alloc : memref<4xi64, #symm.space>
  call @of_own() : () -> ()
  symm.free %a : memref<4xi64, #symm.space>
  return
}
// CHECK-LABEL: func.func private @of_own(
func.func private @of_own() {
  // CHECK: symm.alloc at 512
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  return
}
// CHECK-LABEL: func.func @shares_as_well(
func.func @shares_as_well() {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  // CHECK: symm.alloc at 768
  %b = symm.alloc : memref<4xi64, #symm.space>
  return
}

// -----

// Buffers of a function that is called are alive during the calls: beside what
// the caller has then, and in the place of what it has at other times.
// CHECK: module attributes {symm.workspace_bytes = 512 : i64}
// CHECK-LABEL: func.func @caller(
func.func @caller(%c: i1) {
  // CHECK: symm.alloc at 0 : memref<4xi64, #symm.space>
  %during = symm.alloc : memref<4xi64, #symm.space>
  scf.if %c {
    func.call @through() : () -> ()
  }
  symm.free %during : memref<4xi64, #symm.space>
  // CHECK: symm.alloc at 0 : memref<5xi64, #symm.space>
  %after = symm.alloc : memref<5xi64, #symm.space>
  symm.free %after : memref<5xi64, #symm.space>
  // CHECK: symm.alloc at 0 : memref<6xi64, #symm.space>
  %again = symm.alloc : memref<6xi64, #symm.space>
  // CHECK: symm.alloc at 256 : memref<7xi64, #symm.space>
  %beside = symm.alloc : memref<7xi64, #symm.space>
  symm.free %again : memref<6xi64, #symm.space>
  symm.free %beside : memref<7xi64, #symm.space>
  return
}
func.func private @through() {
  call @callee() : () -> ()
  return
}
// CHECK-LABEL: func.func private @callee(
func.func private @callee() {
  // CHECK: symm.alloc at 256
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  return
}

// -----

// A function that calls itself has the same buffers at each depth, and a call of
// anything may be one of any function.
// CHECK: module attributes {symm.workspace_bytes = 768 : i64}
// CHECK-LABEL: func.func private @recursive(
func.func private @recursive(%c: i1) {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  scf.if %c {
    func.call @recursive(%c) : (i1) -> ()
  }
  // CHECK: symm.alloc at 256
  %b = symm.alloc : memref<4xi64, #symm.space>
  symm.free %b : memref<4xi64, #symm.space>
  return
}
// CHECK-LABEL: func.func @unknown(
func.func @unknown(%f: () -> ()) {
  // CHECK: symm.alloc at 512
  %a = symm.alloc : memref<4xi64, #symm.space>
  call_indirect %f() : () -> ()
  symm.free %a : memref<4xi64, #symm.space>
  // CHECK: symm.alloc at 0
  %b = symm.alloc : memref<4xi64, #symm.space>
  symm.free %b : memref<4xi64, #symm.space>
  return
}

// -----

// A buffer that is not freed, or not in its own block, lives for ever.
// CHECK: module attributes {symm.workspace_bytes = 768 : i64}
// CHECK-LABEL: func.func @never_freed(
func.func @never_freed(%c: i1) {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<4xi64, #symm.space>
  // CHECK: symm.alloc at 256
  %b = symm.alloc : memref<4xi64, #symm.space>
  scf.if %c {
    symm.free %b : memref<4xi64, #symm.space>
  }
  // CHECK: symm.alloc at 512
  %d = symm.alloc : memref<4xi64, #symm.space>
  symm.free %d : memref<4xi64, #symm.space>
  return
}

// -----

// Nested blocks: within the lifetime of the outer buffer, and after it.
// CHECK: module attributes {symm.workspace_bytes = 512 : i64}
// CHECK-LABEL: func.func @nested(
func.func @nested(%c: i1) {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<4xi64, #symm.space>
  scf.if %c {
    // CHECK: symm.alloc at 256
    %b = symm.alloc : memref<4xi64, #symm.space>
    symm.free %b : memref<4xi64, #symm.space>
  }
  symm.free %a : memref<4xi64, #symm.space>
  scf.if %c {
    // CHECK: symm.alloc at 0
    %b = symm.alloc : memref<4xi64, #symm.space>
    symm.free %b : memref<4xi64, #symm.space>
  }
  return
}

// -----

// Two ops of one block: neither encloses the other, so they do not overlap. Two
// regions of one op are taken to.
// CHECK: module attributes {symm.workspace_bytes = 512 : i64}
// CHECK-LABEL: func.func @siblings(
func.func @siblings(%c: i1) {
  scf.if %c {
    // CHECK: symm.alloc at 0
    %a = symm.alloc : memref<4xi64, #symm.space>
    symm.free %a : memref<4xi64, #symm.space>
  } else {
    // CHECK: symm.alloc at 256
    %a = symm.alloc : memref<4xi64, #symm.space>
    symm.free %a : memref<4xi64, #symm.space>
  }
  scf.if %c {
    // CHECK: symm.alloc at 0
    %a = symm.alloc : memref<4xi64, #symm.space>
    symm.free %a : memref<4xi64, #symm.space>
  }
  return
}

// -----

// CHECK: module attributes {symm.workspace_bytes = 0 : i64}
// CHECK-LABEL: func.func @empty(
func.func @empty() {
  // CHECK: symm.alloc at 0
  %a = symm.alloc : memref<0x4xi64, #symm.space>
  return
}
