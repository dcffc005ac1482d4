// RUN: moe-opt %s -split-input-file -verify-diagnostics

// coll_c1
func.func @gather_element_types(%a: memref<1x4xi32>, %b: memref<4x4xf32>) {
  // expected-error @+1 {{'coll.all_gather' op failed to verify that all of {send, recv} have same element type}}
  coll.all_gather %a, %b : memref<1x4xi32> to memref<4x4xf32>
  return
}

// -----

// coll_c1
func.func @gather_dynamic(%a: memref<?x4xi32>, %b: memref<4x4xi32>) {
  // expected-error @+1 {{'coll.all_gather' op operand #0 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<?x4xi32>'}}
  coll.all_gather %a, %b : memref<?x4xi32> to memref<4x4xi32>
  return
}

// -----

// coll_c1
func.func @gather_strided(%a: memref<1x4xi32>, %b: memref<4x4xi32, strided<[8, 1]>>) {
  // expected-error @+1 {{'coll.all_gather' op operand #1 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<4x4xi32, strided<[8, 1]>>'}}
  coll.all_gather %a, %b : memref<1x4xi32> to memref<4x4xi32, strided<[8, 1]>>
  return
}

// -----

// coll_c2
func.func @gather_rows(%a: memref<3x4xi32>, %b: memref<4x4xi32>) {
  // expected-error @+1 {{'coll.all_gather' op expects the rows of 'recv' (4) to be a multiple of those of 'send' (3), one for each rank}}
  coll.all_gather %a, %b : memref<3x4xi32> to memref<4x4xi32>
  return
}

// -----

// coll_c2
func.func @gather_nothing(%a: memref<0x4xi32>, %b: memref<4x4xi32>) {
  // expected-error @+1 {{'coll.all_gather' op expects the rows of 'recv' (4) to be a multiple of those of 'send' (0), one for each rank}}
  coll.all_gather %a, %b : memref<0x4xi32> to memref<4x4xi32>
  return
}

// -----

// coll_c2
func.func @gather_row_shape(%a: memref<1x4xi32>, %b: memref<4x8xi32>) {
  // expected-error @+1 {{'coll.all_gather' op expects the row shape of 'send' ('memref<1x4xi32>') to be static, and that of 'recv' ('memref<4x8xi32>')}}
  coll.all_gather %a, %b : memref<1x4xi32> to memref<4x8xi32>
  return
}

// -----

// coll_c1
func.func @gather_rank_0(%a: memref<i32>, %b: memref<4xi32>) {
  // expected-error @+1 {{'coll.all_gather' op operand #0 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<i32>'}}
  coll.all_gather %a, %b : memref<i32> to memref<4xi32>
  return
}

// -----

// coll_c3
func.func @to_all_shape(%a: memref<4x4xi32>, %b: memref<4x8xi32>) {
  // expected-error @+1 {{'coll.all_to_all' op expects the shape of 'send' ('memref<4x4xi32>') to be that of 'recv' ('memref<4x8xi32>')}}
  coll.all_to_all %a, %b : memref<4x4xi32> to memref<4x8xi32>
  return
}

// -----

// coll_c1
func.func @to_all_index(%a: memref<4xindex>) {
  // expected-error @+1 {{'coll.all_to_all' op operand #0 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<4xindex>'}}
  coll.all_to_all %a, %a : memref<4xindex> to memref<4xindex>
  return
}

// -----

// coll_c4
func.func @exchange_empty() {
  // expected-error @+1 {{'coll.exchange' op expects at least one 'coll.rows' in its region (0)}}
  coll.exchange {
  }
  return
}

// -----

// coll_c4
func.func @exchange_other_op() {
  // expected-error @+1 {{'coll.exchange' op expects nothing but 'coll.rows' in its region ('arith.constant')}}
  coll.exchange {
    %0 = arith.constant 0 : i32
  }
  return
}

// -----

// coll_c4
func.func @exchange_ranks(%x: memref<8xf32>, %y: memref<8xf32>,
                          %t: memref<4xi32>, %u: memref<8xi32>) {
  coll.exchange {
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8xf32> to memref<8xf32> by memref<4xi32>
    // expected-error @+1 {{'coll.rows' op expects tables for as many ranks as the others of the exchange ('memref<8xi32>', 4)}}
    coll.rows %x[%u, %u] to %y[%u, %u]
      : memref<8xf32> to memref<8xf32> by memref<8xi32>
  }
  return
}

// -----

// coll_c4
func.func @rows_alone(%x: memref<8xf32>, %y: memref<8xf32>, %t: memref<4xi32>) {
  // expected-error @+1 {{'coll.rows' op expects parent op 'coll.exchange'}}
  coll.rows %x[%t, %t] to %y[%t, %t]
    : memref<8xf32> to memref<8xf32> by memref<4xi32>
  return
}

// -----

// coll_c5
func.func @rows_element_type(%x: memref<8xf32>, %y: memref<8xi32>, %t: memref<4xi32>) {
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op failed to verify that all of {send, recv} have same element type}}
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8xf32> to memref<8xi32> by memref<4xi32>
  }
  return
}

// -----

// coll_c5
func.func @rows_shape(%x: memref<8x4xf32>, %y: memref<8x2xf32>, %t: memref<4xi32>) {
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op expects the row shape of 'send' ('memref<8x4xf32>') to be static, and that of 'recv' ('memref<8x2xf32>')}}
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8x4xf32> to memref<8x2xf32> by memref<4xi32>
  }
  return
}

// -----

// coll_c5
func.func @rows_dynamic(%x: memref<8x?xf32>, %y: memref<8x?xf32>, %t: memref<4xi32>) {
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op expects the row shape of 'send' ('memref<8x?xf32>') to be static, and that of 'recv' ('memref<8x?xf32>')}}
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8x?xf32> to memref<8x?xf32> by memref<4xi32>
  }
  return
}

// -----

// coll_c5
func.func @rows_strided(%x: memref<8x4xf32, strided<[8, 1]>>, %y: memref<8x4xf32>, %t: memref<4xi32>) {
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op operand #0 must be memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<8x4xf32, strided<[8, 1]>>'}}
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8x4xf32, strided<[8, 1]>> to memref<8x4xf32> by memref<4xi32>
  }
  return
}

// -----

// coll_c6
func.func @rows_table(%x: memref<8xf32>, %y: memref<8xf32>, %t: memref<4xi64>) {
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op operand #1 must be statically shaped rank-1 memref of i32 with contiguous rows, but got 'memref<4xi64>'}}
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8xf32> to memref<8xf32> by memref<4xi64>
  }
  return
}

// -----

// coll_c7
func.func @table_numbers() {
  // expected-error @+1 {{'coll.table' op expects as many numbers as the table has elements (3, 'memref<4xi32>')}}
  %0 = coll.table [0, 1, 2] : memref<4xi32>
  return
}

// -----

// coll_c7
func.func @table_negative() {
  // expected-error @+1 {{'coll.table' op expects no negative number (-1)}}
  %0 = coll.table [0, 1, -1, 2] : memref<4xi32>
  return
}

// -----

// coll_c7
func.func @table_layout() {
  // expected-error @+1 {{'coll.table' op expects the table ('memref<4xi32, strided<[1], offset: 4>>') to have no layout}}
  %0 = coll.table [0, 1, 2, 3] : memref<4xi32, strided<[1], offset: 4>>
  return
}

// -----

func.func @table_type() {
  // expected-error @+1 {{'coll.table' op result #0 must be statically shaped rank-1 memref of i32 with contiguous rows, but got 'memref<4xi64>'}}
  %0 = coll.table [0, 1, 2, 3] : memref<4xi64>
  return
}

// -----

// coll_c1
func.func @gather_i7(%a: memref<1x4xi7>, %b: memref<4x4xi7>) {
  // expected-error @+1 {{'coll.all_gather' op operand #0 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<1x4xi7>'}}
  coll.all_gather %a, %b : memref<1x4xi7> to memref<4x4xi7>
  return
}

// -----

// coll_c1
func.func @to_all_i1(%a: memref<4xi1>, %b: memref<4xi1>) {
  // expected-error @+1 {{'coll.all_to_all' op operand #0 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<4xi1>'}}
  coll.all_to_all %a, %b : memref<4xi1> to memref<4xi1>
  return
}

// -----

// coll_c1
func.func @read_i24(%a: memref<4xi24>) {
  // expected-error @+1 {{'coll.read' op operand #0 must be statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<4xi24>'}}
  %0 = coll.read %a : memref<4xi24>
  return
}

// -----

// coll_c5
func.func @rows_f4(%x: memref<8x4xf4E2M1FN>, %y: memref<8x4xf4E2M1FN>, %t: memref<4xi32>) {
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op operand #0 must be memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows, of rank 1 or more, but got 'memref<8x4xf4E2M1FN>'}}
    coll.rows %x[%t, %t] to %y[%t, %t]
      : memref<8x4xf4E2M1FN> to memref<8x4xf4E2M1FN> by memref<4xi32>
  }
  return
}

// -----

// coll_c9
func.func @copy_shapes(%a: memref<4x4xi32>, %b: memref<4x8xi32>) {
  // expected-error @+1 {{'coll.copy_table' op failed to verify that all of {table, target} have same shape}}
  coll.copy_table %a to %b : memref<4x4xi32> to memref<4x8xi32>
  return
}

// -----

// coll_c9
func.func @clear_type(%a: memref<4x4xi64>) {
  // expected-error @+1 {{'coll.clear_table' op operand #0 must be statically shaped memref of i32 with contiguous rows, of rank 1 or more, but got 'memref<4x4xi64>'}}
  coll.clear_table %a : memref<4x4xi64>
  return
}

// -----

// coll_c6
func.func @end_ranks(%a: memref<4x4xi32>, %limit: index) {
  // expected-error @+1 {{'coll.table_end' op operand #0 must be statically shaped rank-1 memref of i32 with contiguous rows}}
  %0 = coll.table_end %a[%a] limit %limit : memref<4x4xi32>
  return
}
