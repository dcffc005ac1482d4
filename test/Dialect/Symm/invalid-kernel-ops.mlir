// RUN: moe-opt %s -split-input-file -verify-diagnostics

func.func @lanes(%x: memref<8x4xf32>, %y: memref<8x4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put_each' op attribute 'lanes' failed to satisfy constraint: 64-bit signless integer attribute whose minimum value is 1 whose maximum value is 32}}
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 33
    : memref<8x4xf32> to memref<8x4xf32, #symm.space>
  return
}

// -----

func.func @no_rows(%x: memref<8x4xf32>, %y: memref<8x4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put_each' op attribute 'rows' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 1 rows 0
    : memref<8x4xf32> to memref<8x4xf32, #symm.space>
  return
}

// -----

func.func @team_without_member(%x: memref<2x4xf32>, %y: memref<2x4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put_each' op expects 'member' with a 'team' of more than one (4)}}
  "symm.put_each"(%x, %i, %y, %i, %i, %i) <{lanes = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0>, rows = 1 : i64, team = 4 : i64}>
    : (memref<2x4xf32>, index, memref<2x4xf32, #symm.space>, index, index, index) -> ()
  return
}

// -----

func.func @team_of_stage(%x: memref<2x4xf32, #gpu.address_space<workgroup>>,
    %y: memref<8x4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put_each' op expects 'team' to be 1 (2) for a source in workgroup memory}}
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 1 share %i of 2
    : memref<2x4xf32, #gpu.address_space<workgroup>> to memref<8x4xf32, #symm.space>
  return
}

// -----

func.func @rows_of_stage(%x: memref<2x4xf32, #gpu.address_space<workgroup>>,
    %y: memref<8x4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put_each' op expects 'rows' to be 1 (2) for a source in workgroup memory}}
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 1 rows 2
    : memref<2x4xf32, #gpu.address_space<workgroup>> to memref<8x4xf32, #symm.space>
  return
}

// -----

func.func @coherent_stage(%x: memref<2x4xf32, #gpu.address_space<workgroup>>,
    %y: memref<8x4xf32, #symm.space>, %i: index) {
  // expected-error @+1 {{'symm.put_each' op expects no 'coherent' for a source in workgroup memory}}
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 1 coherent
    : memref<2x4xf32, #gpu.address_space<workgroup>> to memref<8x4xf32, #symm.space>
  return
}

// -----

func.func @counters_in_global_memory(%full: memref<2xi64>) {
  // expected-error @+1 {{'symm.stage_init' op operand #0 must be rank-1 memref of i64 in workgroup memory (#gpu.address_space<workgroup>), but got 'memref<2xi64>'}}
  symm.stage_init %full arrivals 1 : memref<2xi64>
  return
}

// -----

func.func @fetch_type(%x: memref<8x4xf32>, %stage: memref<2x8xf16, #gpu.address_space<workgroup>>,
    %full: memref<2xi64, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{'symm.fetch' op expects the element type of 'source' ('f32') to be that of 'stage' ('f16')}}
  symm.fetch %x[%i, %i] to %stage[%i] counted by %full[%i]
    : memref<8x4xf32> to memref<2x8xf16, #gpu.address_space<workgroup>>,
    memref<2xi64, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @fetch_indices(%x: memref<8x4xf32>, %stage: memref<2x4xf32, #gpu.address_space<workgroup>>,
    %full: memref<2xi64, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{'symm.fetch' op expects 2 indices of 'source' (1)}}
  symm.fetch %x[%i] to %stage[%i] counted by %full[%i]
    : memref<8x4xf32> to memref<2x4xf32, #gpu.address_space<workgroup>>,
    memref<2xi64, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @fetch_columns(%x: memref<8x4xf32, strided<[8, 2]>>,
    %stage: memref<2x4xf32, #gpu.address_space<workgroup>>,
    %full: memref<2xi64, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{'symm.fetch' op expects 'source' ('memref<8x4xf32, strided<[8, 2]>>') to have contiguous rows}}
  symm.fetch %x[%i, %i] to %stage[%i] counted by %full[%i]
    : memref<8x4xf32, strided<[8, 2]>> to memref<2x4xf32, #gpu.address_space<workgroup>>,
    memref<2xi64, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @fetch_bytes(%x: memref<8x3xf32>, %stage: memref<2x3xf32, #gpu.address_space<workgroup>>,
    %full: memref<2xi64, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{'symm.fetch' op expects rows of 'stage' to have a multiple of 16 bytes (12)}}
  symm.fetch %x[%i, %i] to %stage[%i] counted by %full[%i]
    : memref<8x3xf32> to memref<2x3xf32, #gpu.address_space<workgroup>>,
    memref<2xi64, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @marks_of_64_bits(%words: memref<8xi64, #gpu.address_space<workgroup>>, %i: index, %bits: i32) {
  // expected-error @+1 {{'symm.mark' op operand #0 must be rank-1 memref of i32 in workgroup memory (#gpu.address_space<workgroup>), but got 'memref<8xi64, #gpu.address_space<workgroup>>'}}
  symm.mark %words[%i], %bits : memref<8xi64, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @join_12_bytes(%x: vector<3xf32>) {
  // expected-error @+1 {{custom op 'symm.join_loads' 'values' must be variadic of vector of 1, 2, 4, 8 or 16 bytes, but got 'vector<3xf32>'}}
  %0 = symm.join_loads %x : vector<3xf32>
  return
}

// -----

func.func @join_32_bytes(%x: vector<4xf32>, %y: vector<8xf32>) {
  // expected-error @+1 {{'symm.join_loads' op operand #1 must be variadic of vector of 1, 2, 4, 8 or 16 bytes, but got 'vector<8xf32>'}}
  %0 = symm.join_loads %x with %y : vector<4xf32> with vector<8xf32>
  return
}

// -----

func.func @join_matrix(%x: vector<4xf32>, %y: vector<2x2xf32>) {
  // expected-error @+1 {{'symm.join_loads' op operand #1 must be variadic of vector of 1, 2, 4, 8 or 16 bytes, but got 'vector<2x2xf32>'}}
  %0 = symm.join_loads %x with %y : vector<4xf32> with vector<2x2xf32>
  return
}

// -----

func.func @join_scalar(%x: vector<4xf32>, %y: f32) {
  // expected-error @+1 {{'symm.join_loads' op operand #1 must be variadic of vector of 1, 2, 4, 8 or 16 bytes, but got 'f32'}}
  %0 = symm.join_loads %x with %y : vector<4xf32> with f32
  return
}

// -----

func.func @join_type(%x: vector<4xf32>) {
  // expected-error @+1 {{'symm.join_loads' op failed to verify that the types of results are those of values}}
  %0 = "symm.join_loads"(%x) <{operandSegmentSizes = array<i32: 1, 0>}>
    : (vector<4xf32>) -> vector<8xbf16>
  return
}

// -----

func.func @join_number(%x: vector<4xf32>) {
  // expected-error @+1 {{'symm.join_loads' op failed to verify that the types of results are those of values}}
  %0:2 = "symm.join_loads"(%x, %x) <{operandSegmentSizes = array<i32: 1, 1>}>
    : (vector<4xf32>, vector<4xf32>) -> (vector<4xf32>, vector<4xf32>)
  return
}

// -----

func.func @join_nothing(%a: vector<8xbf16>) {
  // expected-error @+1 {{'symm.join_loads' op expects at least one of 'values' (0)}}
  "symm.join_loads"(%a) <{operandSegmentSizes = array<i32: 0, 1>}> : (vector<8xbf16>) -> ()
  return
}
