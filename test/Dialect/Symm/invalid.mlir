// RUN: moe-opt %s -split-input-file -verify-diagnostics

func.func @alloc_layout() {
  // expected-error @+1 {{'symm.alloc' op expects a buffer with identity layout ('memref<4x4xf32, strided<[8, 1]>, #symm.space>')}}
  %0 = symm.alloc : memref<4x4xf32, strided<[8, 1]>, #symm.space>
  return
}

// -----

func.func @alloc_offset_alignment() {
  // expected-error @+1 {{'symm.alloc' op expects 'offset' (64) to be a multiple of 128}}
  %0 = symm.alloc at 64 : memref<4xf32, #symm.space>
  return
}

// -----

func.func @alloc_negative_offset() {
  // expected-error @+1 {{'symm.alloc' op attribute 'offset' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %0 = symm.alloc at -256 : memref<4xf32, #symm.space>
  return
}

// -----

func.func @alloc_dynamic() {
  // expected-error @+1 {{'symm.alloc' op result #0 must be statically shaped memref in symmetric memory (#symm.space), but got 'memref<?xf32, #symm.space>'}}
  %0 = symm.alloc : memref<?xf32, #symm.space>
  return
}

// -----

func.func @alloc_space() {
  // expected-error @+1 {{'symm.alloc' op result #0 must be statically shaped memref in symmetric memory (#symm.space), but got 'memref<4xf32>'}}
  %0 = symm.alloc : memref<4xf32>
  return
}

// -----

func.func @free_of_argument(%b: memref<4xf32, #symm.space>) {
  // expected-error @+1 {{'symm.free' op expects the result of a 'symm.alloc'}}
  symm.free %b : memref<4xf32, #symm.space>
  return
}

// -----

func.func @free_of_persistent() {
  %0 = symm.alloc persistent : memref<4xf32, #symm.space>
  // expected-error @+1 {{'symm.free' op expects a buffer that is not persistent}}
  symm.free %0 : memref<4xf32, #symm.space>
  return
}

// -----

func.func @peer_of_local(%b: memref<4xf32>, %i: index) {
  // expected-error @+1 {{'symm.peer' op operand #0 must be statically shaped memref in symmetric memory (#symm.space), but got 'memref<4xf32>'}}
  %0 = symm.peer %b at %i : memref<4xf32>
  return
}

// -----

func.func @put_to_local(%x: memref<4xf32>, %i: index) {
  // expected-error @+1 {{'symm.put' op operand #2 must be statically shaped memref in symmetric memory (#symm.space), but got 'memref<4xf32>'}}
  symm.put %x[%i] to %x[%i] at %i : memref<4xf32> to memref<4xf32>
  return
}

// -----

func.func @put_element_type(%x: memref<4xf32>, %i: index) {
  %0 = symm.alloc : memref<4xi32, #symm.space>
  // expected-error @+1 {{'symm.put' op expects the element type of 'source' ('f32') to be that of 'target' ('i32')}}
  symm.put %x[%i] to %0[%i] at %i : memref<4xf32> to memref<4xi32, #symm.space>
  return
}

// -----

func.func @put_rank_0(%x: memref<f32>, %i: index) {
  %0 = symm.alloc : memref<4xf32, #symm.space>
  // expected-error @+1 {{'symm.put' op expects 'source' and 'target' of rank 1 or more}}
  symm.put %x[%i] to %0[%i] at %i : memref<f32> to memref<4xf32, #symm.space>
  return
}

// -----

func.func @put_row_shape(%x: memref<4x8xf32>, %i: index) {
  %0 = symm.alloc : memref<4x16xf32, #symm.space>
  // expected-error @+1 {{'symm.put' op expects the row shape of 'source' ('memref<4x8xf32>') to be that of 'target' ('memref<4x16xf32, #symm.space>')}}
  symm.put %x[%i] to %0[%i] at %i : memref<4x8xf32> to memref<4x16xf32, #symm.space>
  return
}

// -----

func.func @put_dynamic_row(%x: memref<4x?xf32>, %i: index) {
  %0 = symm.alloc : memref<4x16xf32, #symm.space>
  // expected-error @+1 {{'symm.put' op expects the row shape of 'source' ('memref<4x?xf32>') to be that of 'target' ('memref<4x16xf32, #symm.space>')}}
  symm.put %x[%i] to %0[%i] at %i : memref<4x?xf32> to memref<4x16xf32, #symm.space>
  return
}

// -----

func.func @put_source_layout(%x: memref<4x8xf32, strided<[16, 1]>>, %i: index) {
  %0 = symm.alloc : memref<4x8xf32, #symm.space>
  // expected-error @+1 {{'symm.put' op expects 'source' ('memref<4x8xf32, strided<[16, 1]>>') to have contiguous rows}}
  symm.put %x[%i] to %0[%i] at %i
    : memref<4x8xf32, strided<[16, 1]>> to memref<4x8xf32, #symm.space>
  return
}

// -----

func.func @put_source_unknown_layout(%x: memref<4xf32, strided<[?]>>, %i: index) {
  %0 = symm.alloc : memref<4xf32, #symm.space>
  // expected-error @+1 {{'symm.put' op expects 'source' ('memref<4xf32, strided<[?]>>') to have contiguous rows}}
  symm.put %x[%i] to %0[%i] at %i
    : memref<4xf32, strided<[?]>> to memref<4xf32, #symm.space>
  return
}

// -----

func.func @put_target_layout(
    %x: memref<4x8xf32>, %y: memref<4x8xf32, strided<[16, 1]>, #symm.space>,
    %i: index) {
  // expected-error @+1 {{'symm.put' op expects 'target' ('memref<4x8xf32, strided<[16, 1]>, #symm.space>') to have contiguous rows}}
  symm.put %x[%i] to %y[%i] at %i
    : memref<4x8xf32> to memref<4x8xf32, strided<[16, 1]>, #symm.space>
  return
}

// -----

func.func @next_epoch_elements() {
  %0 = symm.alloc persistent : memref<2xi64, #symm.space>
  // expected-error @+1 {{'symm.next_epoch' op expects 'counter' to have one element (2)}}
  %1 = symm.next_epoch %0 : memref<2xi64, #symm.space>
  return
}

// -----

func.func @next_epoch_type() {
  %0 = symm.alloc persistent : memref<1xi32, #symm.space>
  // expected-error @+1 {{'symm.next_epoch' op operand #0 must be rank-1 memref of i64 in symmetric memory (#symm.space), but got 'memref<1xi32, #symm.space>'}}
  %1 = symm.next_epoch %0 : memref<1xi32, #symm.space>
  return
}

// -----

func.func @signal_rank(%i: index, %v: i64) {
  %0 = symm.alloc persistent : memref<2x2xi64, #symm.space>
  // expected-error @+1 {{'symm.signal' op operand #0 must be rank-1 memref of i64 in symmetric memory (#symm.space), but got 'memref<2x2xi64, #symm.space>'}}
  symm.signal %0[%i] at %i, %v : memref<2x2xi64, #symm.space>
  return
}

// -----

func.func @wait_local(%flags: memref<4xi64>, %i: index, %v: i64) {
  // expected-error @+1 {{'symm.wait' op operand #0 must be rank-1 memref of i64 in symmetric memory (#symm.space), but got 'memref<4xi64>'}}
  symm.wait %flags[%i] from %i, %v : memref<4xi64>
  return
}

// -----

func.func @barrier_type(%v: i64) {
  %0 = symm.alloc persistent : memref<4xf64, #symm.space>
  // expected-error @+1 {{'symm.barrier' op operand #0 must be rank-1 memref of i64 in symmetric memory (#symm.space), but got 'memref<4xf64, #symm.space>'}}
  symm.barrier %0, %v : memref<4xf64, #symm.space>
  return
}

// -----

func.func @check_failure(%ok: i1, %v: i64) {
  // expected-error @+2 {{expected ::mlir::symm::Failure to be one of: invalid_argument, peer_failed, invalid_expert, capacity_exceeded, invalid_count}}
  // expected-error @+1 {{failed to parse}}
  symm.check %ok, unlucky, "day" expected %v seen %v
  return
}

// -----

func.func @collective_site() {
  // expected-error @+1 {{'symm.collective_begin' op attribute 'site' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  symm.collective_begin "moe.dispatch" site -1
  return
}

// -----

// workspace_c1
func.func @own_workspace_on_op() {
  // expected-error @+1 {{'symm.rank' op expects 'symm.own_workspace' on functions only}}
  %0 = symm.rank {symm.own_workspace}
  return
}

// -----

// expected-error @+1 {{'func.func' op expects 'symm.own_workspace' to be a unit attribute (true)}}
func.func @own_workspace_no_unit() attributes {symm.own_workspace = true} {
  return
}

// -----

func.func @alloc_result_not_persistent() {
  // expected-error @+1 {{'symm.alloc' op expects a buffer with 'result' (1) to be persistent}}
  %0 = symm.alloc result 1 : memref<4xf32, #symm.space>
  return
}

// -----

func.func @alloc_negative_result() {
  // expected-error @+1 {{'symm.alloc' op attribute 'result_index' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %0 = symm.alloc persistent result -1 : memref<4xf32, #symm.space>
  return
}

// -----

func.func @alloc_result_layout() {
  // expected-error @+1 {{'symm.alloc_result' op expects a buffer with identity layout in the default memory space ('memref<4x4xf32, strided<[8, 1]>>')}}
  %0 = symm.alloc_result 0 : memref<4x4xf32, strided<[8, 1]>>
  return
}

// -----

func.func @alloc_result_space() {
  // expected-error @+1 {{'symm.alloc_result' op expects a buffer with identity layout in the default memory space ('memref<4xf32, #symm.space>')}}
  %0 = symm.alloc_result 0 : memref<4xf32, #symm.space>
  return
}

// -----

func.func @alloc_result_sizes(%n: index) {
  // expected-error @+1 {{'symm.alloc_result' op expects 2 sizes for the dynamic extents of 'memref<?x4x?xf32>' (1)}}
  %0 = symm.alloc_result 0(%n) : memref<?x4x?xf32>
  return
}

// -----

func.func @copy_rows_numbers(%x: memref<8x4xf32>, %n: memref<2xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects as many 'targets' as 'sources', one at least (1 and 2)}}
  symm.copy_rows %x, %x to %x counts %n
    : memref<8x4xf32>, memref<8x4xf32> to memref<8x4xf32> counts memref<2xi32>
  return
}

// -----

func.func @copy_rows_types(%x: memref<8x4xf32>, %y: memref<8x4xi32>,
                           %n: memref<2xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects a source of the element type and shape of its target ('memref<8x4xf32>' and 'memref<8x4xi32>')}}
  symm.copy_rows %x to %y counts %n
    : memref<8x4xf32> to memref<8x4xi32> counts memref<2xi32>
  return
}

// -----

func.func @copy_rows_shapes(%x: memref<8x4xf32>, %y: memref<9x4xf32>,
                            %n: memref<2xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects a source of the element type and shape of its target ('memref<8x4xf32>' and 'memref<9x4xf32>')}}
  symm.copy_rows %x to %y counts %n
    : memref<8x4xf32> to memref<9x4xf32> counts memref<2xi32>
  return
}

// -----

func.func @copy_rows_extents(%x: memref<8x4xf32>, %y: memref<9xf32>,
                             %n: memref<2xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects all buffers to have the same number of rows ('memref<8x4xf32>' and 'memref<9xf32>')}}
  symm.copy_rows %x, %y to %x, %y counts %n
    : memref<8x4xf32>, memref<9xf32> to memref<8x4xf32>, memref<9xf32>
      counts memref<2xi32>
  return
}

// -----

func.func @copy_rows_layout(%x: memref<8x4xf32>,
                            %y: memref<8x4xf32, strided<[8, 1]>>,
                            %n: memref<2xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects buffers with contiguous rows ('memref<8x4xf32, strided<[8, 1]>>')}}
  symm.copy_rows %x to %y counts %n
    : memref<8x4xf32> to memref<8x4xf32, strided<[8, 1]>> counts memref<2xi32>
  return
}

// -----

func.func @copy_rows_places(%x: memref<8x4xf32>, %n: memref<2xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects either 'offsets' or 'every'}}
  symm.copy_rows %x to %x counts %n at %n every 4
    : memref<8x4xf32> to memref<8x4xf32> counts memref<2xi32> at memref<2xi32>
  return
}

// -----

func.func @copy_rows_offsets(%x: memref<8x4xf32>, %n: memref<2xi32>,
                             %o: memref<3xi32>) {
  // expected-error @+1 {{'symm.copy_rows' op expects as many 'offsets' ('memref<3xi32>') as 'counts' ('memref<2xi32>')}}
  symm.copy_rows %x to %x counts %n at %o
    : memref<8x4xf32> to memref<8x4xf32> counts memref<2xi32> at memref<3xi32>
  return
}
