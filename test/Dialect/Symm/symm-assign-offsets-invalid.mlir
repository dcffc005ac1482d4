// RUN: moe-opt %s -split-input-file -verify-diagnostics --symm-assign-offsets

func.func @too_large() {
  // expected-error @+1 {{'symm.alloc' op expects a buffer of less than 2^63 bytes ('memref<4294967296x4294967296xi8, #symm.space>')}}
  %a = symm.alloc : memref<4294967296x4294967296xi8, #symm.space>
  return
}

// -----

func.func @sum_too_large() {
  %a = symm.alloc persistent : memref<4611686018427387904xi8, #symm.space>
  // expected-error @+1 {{'symm.alloc' op expects a workspace of less than 2^63 bytes}}
  %b = symm.alloc persistent : memref<4611686018427387904xi8, #symm.space>
  return
}

// -----

func.func @sum_of_temporaries_too_large() {
  %a = symm.alloc : memref<4611686018427387904xi8, #symm.space>
  // expected-error @+1 {{'symm.alloc' op expects a workspace of less than 2^63 bytes}}
  %b = symm.alloc : memref<4611686018427387904xi8, #symm.space>
  return
}

// -----

// workspace_s1
// expected-note @+1 {{it is called by this entry}}
func.func @own() attributes {symm.own_workspace} {
  call @helper() : () -> ()
  return
}
// expected-note @+1 {{it is called by this one, too}}
func.func @other() {
  call @helper() : () -> ()
  return
}
// expected-error @+1 {{'func.func' op expects one with symmetric buffers not to be called by an entry with 'symm.own_workspace' and by another one}}
func.func private @helper() {
  %a = symm.alloc : memref<4xi64, #symm.space>
  symm.free %a : memref<4xi64, #symm.space>
  return
}
