// RUN: moe-opt %s -split-input-file -verify-diagnostics --convert-symm-to-llvm

func.func @no_offset() {
  // expected-error @+1 {{'symm.alloc' op expects an 'offset'; run symm-assign-offsets first}}
  %0 = symm.alloc : memref<4xi32, #symm.space>
  return
}

// -----

// Something else has the name of a runtime function.
// expected-error @+1 {{'func.func' op takes the name of a runtime function; expects a declaration of type '!llvm.func<i64 ()>'}}
func.func private @moert_rank()
func.func @clash() -> index {
  %0 = symm.rank
  return %0 : index
}

// -----

// expected-error @+1 {{'llvm.func' op takes the name of a runtime function; expects a declaration of type '!llvm.func<void (ptr)>'}}
llvm.func @moert_phase(i32)
func.func @signature() {
  symm.phase "put"
  return
}

// -----

func.func @site() {
  // expected-error @+1 {{'symm.collective_begin' op expects 'site' (1) to be less than the number of collectives (1)}}
  symm.collective_begin "moe.dispatch" site 1
  return
}
