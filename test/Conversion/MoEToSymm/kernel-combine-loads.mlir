// How many columns and rows of a token a lane loads at a time.
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)
shard.grid @ep1(shape = 1)
shard.grid @ep2(shape = 2)
shard.grid @ep8(shape = 8)

// A lane has sixteen vectors of a row. It loads all of one row at a time, and of two or four
// rows eight together.
// CHECK-LABEL: func.func @long_rows
// CHECK: arith.cmpi ule, %{{.*}}, %c1 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|scf.for|vector.load}}
// CHECK-COUNT-16: vector.load
// CHECK-NEXT: %{{.*}}:16 = symm.join_loads %{{([^,]*, ){15}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NEXT: arith.cmpi ule, %{{.*}}, %c2 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c1024 {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: %{{.*}}:4 = symm.join_loads %{{([^,]*, ){3}[^,]*}} with %{{([^,]*, ){3}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c512 {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: %{{.*}}:2 = symm.join_loads %{{[^,]*, [^,]*}} with %{{([^,]*, ){5}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: symm.phase "release"
func.func @long_rows(%y: memref<512x4096xbf16, #symm.space>,
    %rows: memref<128x4xi32>, %src: memref<512xi32>, %from: memref<4xi32>,
    %out: memref<128x4096xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<512x4096xbf16, #symm.space>, memref<128x4xi32>, memref<512xi32>,
       memref<4xi32>, memref<128x4096xbf16>) -> ()
  return
}

// Of two rows in two slots sixteen.
// CHECK-LABEL: func.func @two_slots
// CHECK: arith.cmpi ule, %{{.*}}, %c1 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|scf.for|vector.load}}
// CHECK-COUNT-16: vector.load
// CHECK-NEXT: %{{.*}}:16 = symm.join_loads %{{([^,]*, ){15}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c2048 {
// CHECK-COUNT-16: vector.load
// CHECK-NEXT: %{{.*}}:8 = symm.join_loads %{{([^,]*, ){7}[^,]*}} with %{{([^,]*, ){7}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: symm.phase "release"
func.func @two_slots(%y: memref<256x4096xbf16, #symm.space>,
    %rows: memref<128x2xi32>, %src: memref<256xi32>, %from: memref<2xi32>,
    %out: memref<128x4096xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep2
      {num_experts = 16 : i64}
    : (memref<256x4096xbf16, #symm.space>, memref<128x2xi32>, memref<256xi32>,
       memref<2xi32>, memref<128x4096xbf16>) -> ()
  return
}

// Beyond 4 MiB of rows all blocks together load about as much at a time: four vectors per
// lane.
// CHECK-LABEL: func.func @more_tokens
// CHECK: arith.cmpi ule, %{{.*}}, %c1 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c1024 {
// CHECK-COUNT-4: vector.load
// CHECK-NEXT: %{{.*}}:4 = symm.join_loads %{{([^,]*, ){3}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NEXT: arith.cmpi ule, %{{.*}}, %c2 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c512 {
// CHECK-COUNT-4: vector.load
// CHECK-NEXT: %{{.*}}:2 = symm.join_loads %{{[^,]*, [^,]*}} with %{{[^,]*, [^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c256 {
// CHECK-COUNT-4: vector.load
// CHECK-NEXT: %{{.*}} = symm.join_loads %{{[^,]*}} with %{{([^,]*, ){2}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: symm.phase "release"
func.func @more_tokens(%y: memref<516x4096xbf16, #symm.space>,
    %rows: memref<129x4xi32>, %src: memref<516xi32>, %from: memref<4xi32>,
    %out: memref<129x4096xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<516x4096xbf16, #symm.space>, memref<129x4xi32>, memref<516xi32>,
       memref<4xi32>, memref<129x4096xbf16>) -> ()
  return
}

// Weighted vectors of one row are widened to f32: registers hold eight.
// CHECK-LABEL: func.func @long_weighted_rows
// CHECK: arith.cmpi ule, %{{.*}}, %c1 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c2048 {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: %{{.*}}:8 = symm.join_loads %{{([^,]*, ){7}[^,]*}} :
func.func @long_weighted_rows(%y: memref<512x4096xbf16, #symm.space>,
    %rows: memref<128x4xi32>, %src: memref<512xi32>, %from: memref<4xi32>,
    %w: memref<512xf32, #symm.space>, %out: memref<128x4096xbf16>) {
  moe.combine %y, %rows, %src, %from weights(%w) outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<512x4096xbf16, #symm.space>, memref<128x4xi32>, memref<512xi32>,
       memref<4xi32>, memref<512xf32, #symm.space>, memref<128x4096xbf16>) -> ()
  return
}

// expert_major: all rows at a time, whatever a token has.
// CHECK-LABEL: func.func @expert_major
// CHECK: symm.phase "reduce"
// CHECK: scf.for {{.*}} -> (i32, i32)
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c4096 step %c512 {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: %{{.*}}:2 = symm.join_loads %{{[^,]*, [^,]*}} with %{{([^,]*, ){5}[^,]*}} :
// CHECK-NOT: {{scf.if|vector.load}}
// Where the rows of another rank begin, what the one before has is added to the sum.
// CHECK: scf.if %{{.*}} -> (vector<8xf32>, vector<8xf32>) {
// CHECK-COUNT-2: scf.if %{{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>) {
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK-COUNT-2: vector.store
// CHECK-NOT: {{vector.load|arith.cmpi ule}}
// CHECK: symm.phase "release"
func.func @expert_major(%y: memref<512x4096xbf16, #symm.space>,
    %rows: memref<128x4xi32>, %src: memref<512xi32>, %from: memref<4xi32>,
    %idx: memref<128x4xi32>, %out: memref<128x4096xbf16>) {
  moe.combine %y, %rows, %src, %from topk(%idx) outs(%out) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64}
    : (memref<512x4096xbf16, #symm.space>, memref<128x4xi32>, memref<512xi32>,
       memref<4xi32>, memref<128x4xi32>, memref<128x4096xbf16>) -> ()
  return
}

// Of eight slots two rows are a quarter, four a half.
// CHECK-LABEL: func.func @eight_slots
// CHECK: arith.cmpi ule, %{{.*}}, %c2 :
// CHECK-NEXT: scf.if
// CHECK-COUNT-2: vector.load
// CHECK-NEXT: %{{.*}} = symm.join_loads %{{[^,]*}} with %{{[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NEXT: arith.cmpi ule, %{{.*}}, %c4 :
// CHECK-NEXT: scf.if
// CHECK-COUNT-4: vector.load
// CHECK-NEXT: %{{.*}} = symm.join_loads %{{[^,]*}} with %{{([^,]*, ){2}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: %{{.*}} = symm.join_loads %{{[^,]*}} with %{{([^,]*, ){6}[^,]*}} :
// CHECK-NOT: vector.load
// CHECK: symm.phase "release"
func.func @eight_slots(%y: memref<512x32xbf16, #symm.space>,
    %rows: memref<64x8xi32>, %src: memref<512xi32>, %from: memref<8xi32>,
    %out: memref<64x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep8
      {num_experts = 16 : i64}
    : (memref<512x32xbf16, #symm.space>, memref<64x8xi32>, memref<512xi32>,
       memref<8xi32>, memref<64x32xbf16>) -> ()
  return
}

// Blocks of more than 512 threads add four rows at a time, in a loop that carries the sums
// and the bits of the first row, and have no variants.
// CHECK-LABEL: func.func @many_threads
// CHECK: %[[ZEROS:.*]] = arith.constant dense<0.000000e+00> : vector<8xbf16>
// CHECK: %[[EMPTY:.*]] = arith.constant dense<-0.000000e+00> : vector<8xf32>
// CHECK: symm.phase "reduce"
// CHECK: scf.for {{.*}} -> (i32, i32)
// CHECK: %[[COUNT:.*]] = arith.index_castui
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: %[[SUMS:.*]]:2 = scf.for %[[BASE:.*]] = %c0 to %[[COUNT]] step %c4 iter_args(%[[SUM:.*]] = %[[EMPTY]], %[[FIRST:.*]] = %[[ZEROS]]) -> (vector<8xf32>, vector<8xbf16>) {
// CHECK-COUNT-4: vector.load
// CHECK-NEXT: %[[JOINED:.*]] = symm.join_loads %{{[^,]*}} with %{{([^,]*, ){2}[^,]*}} :
// CHECK: %[[IS_FIRST:.*]] = arith.cmpi eq, %[[BASE]], %c0
// CHECK: arith.addf %[[SUM]],
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: %[[BITS:.*]] = arith.select %[[IS_FIRST]], %[[JOINED]], %[[FIRST]] : vector<8xbf16>
// CHECK-NEXT: scf.yield %{{.*}}, %[[BITS]] :
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[SUMS]]#0
// CHECK-NEXT: %[[SUM_OR_0:.*]] = arith.select %{{.*}}, %[[ZEROS]], %[[ROUNDED]] : vector<8xbf16>
// CHECK: arith.select %{{.*}}, %[[SUMS]]#1, %[[SUM_OR_0]] : vector<8xbf16>
// CHECK-NOT: vector.load
// CHECK: symm.phase "release"
func.func @many_threads(%y: memref<512x32xbf16, #symm.space>,
    %rows: memref<64x8xi32>, %src: memref<512xi32>, %from: memref<8xi32>,
    %out: memref<64x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep8
      {kernel = #moe.kernel<threads = 544>, num_experts = 16 : i64}
    : (memref<512x32xbf16, #symm.space>, memref<64x8xi32>, memref<512xi32>,
       memref<8xi32>, memref<64x32xbf16>) -> ()
  return
}

// Some lanes have twelve vectors of a row, others eleven: the last round is like the others,
// and no column is past the end of the row.
// CHECK-LABEL: func.func @part_of_a_round
// CHECK: arith.cmpi ule, %{{.*}}, %c1 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|scf.for}}
// CHECK: %[[LAST1:.*]] = arith.minui %{{.*}}, %c2872
// CHECK-NOT: {{scf.if|scf.for|arith.minui}}
// CHECK-COUNT-11: vector.load
// CHECK-NEXT: vector.load %{{.*}}, %[[LAST1]]]
// CHECK-NEXT: symm.join_loads
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NEXT: arith.cmpi ule, %{{.*}}, %c2 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|arith.minui|vector.load}}
// CHECK: scf.for %[[COLUMN:.*]] = %{{.*}} to %c3072 step %c1024 {
// CHECK-NEXT: arith.addi %[[COLUMN]], %c256
// CHECK-NEXT: arith.addi %[[COLUMN]], %c512
// CHECK-NEXT: %[[LAST:.*]] = arith.addi %[[COLUMN]], %c768
// CHECK-NEXT: %[[LAST2:.*]] = arith.minui %[[LAST]], %c2872
// CHECK-NOT: {{scf.if|arith.minui}}
// CHECK-COUNT-3: vector.load
// CHECK-NEXT: vector.load %{{.*}}, %[[LAST2]]]
// CHECK-NOT: scf.if
// CHECK-COUNT-3: vector.load
// CHECK-NEXT: vector.load %{{.*}}, %[[LAST2]]]
// CHECK-NEXT: symm.join_loads
// CHECK-NOT: vector.load
// CHECK: } else {
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c3072 step %c512 {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: symm.join_loads
// CHECK-NOT: vector.load
// CHECK: symm.phase "release"
func.func @part_of_a_round(%y: memref<512x2880xbf16, #symm.space>,
    %rows: memref<128x4xi32>, %src: memref<512xi32>, %from: memref<4xi32>,
    %out: memref<128x2880xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<512x2880xbf16, #symm.space>, memref<128x4xi32>, memref<512xi32>,
       memref<4xi32>, memref<128x2880xbf16>) -> ()
  return
}

// A last round of fewer columns has its own code.
// CHECK-LABEL: func.func @short_round
// CHECK: arith.cmpi ule, %{{.*}}, %c2 :
// CHECK-NEXT: scf.if
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: scf.for %{{.*}} to %c2048 step %c1024 {
// CHECK-COUNT-8: vector.load
// CHECK-NEXT: %{{.*}}:4 = symm.join_loads
// CHECK-NOT: {{vector.load|arith.minui}}
// CHECK: }
// CHECK-NOT: {{scf.if|vector.load}}
// CHECK: arith.minui %{{.*}}, %c2680
// CHECK-NOT: scf.if
// CHECK-COUNT-6: vector.load
// CHECK-NEXT: %{{.*}}:3 = symm.join_loads
// CHECK-NOT: vector.load
// CHECK: } else {
func.func @short_round(%y: memref<512x2688xbf16, #symm.space>,
    %rows: memref<128x4xi32>, %src: memref<512xi32>, %from: memref<4xi32>,
    %out: memref<128x2688xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<512x2688xbf16, #symm.space>, memref<128x4xi32>, memref<512xi32>,
       memref<4xi32>, memref<128x2688xbf16>) -> ()
  return
}

// More tokens than subgroups: those take them one by one. Where the rows of the next one
// lie is looked up when this one is done; it is asked for before.
// CHECK-LABEL: func.func @shared_out
// CHECK: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c2,
// The first tokens are spread over blocks.
// CHECK: %[[PLACE:.*]] = arith.muli %[[SUBGROUP:.*]], %[[GRID]]
// CHECK-NEXT: %[[OWN:.*]] = arith.addi %[[PLACE]], %[[BLOCK]]
// CHECK-NEXT: %[[OTHERS:.*]] = arith.muli %[[GRID]], %c16
// CHECK: memref.load %{{.*}}[%[[OWN]],
// CHECK: symm.phase "reduce"
// CHECK: scf.while (%[[NEXT:.*]] = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) : (index, i32, i32)
// CHECK-NEXT: arith.cmpi ult, %[[NEXT]], %c33
// CHECK: ^bb0(%[[TOKEN:.*]]: index, %{{.*}}: i32, %{{.*}}: i32):
// CHECK: symm.take %[[TICKETS]]
// CHECK: vector.store %{{.*}}, %{{.*}}[%[[TOKEN]],
// CHECK: %[[AFTER:.*]] = arith.addi %[[OTHERS]], %{{.*}} : index
// CHECK-NEXT: arith.cmpi ult, %[[AFTER]], %c33
// CHECK-NEXT: scf.if
// CHECK: memref.load %{{.*}}[%[[AFTER]],
// CHECK: scf.yield %[[AFTER]],
// What the next run counts in.
// CHECK: symm.phase "release"
// CHECK: memref.store %c0_i64, %[[TICKETS]]
func.func @shared_out(%y: memref<132x32xbf16, #symm.space>,
    %rows: memref<33x4xi32>, %src: memref<132xi32>, %from: memref<4xi32>,
    %out: memref<33x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {kernel = #moe.kernel<blocks = 2>, num_experts = 16 : i64}
    : (memref<132x32xbf16, #symm.space>, memref<33x4xi32>, memref<132xi32>,
       memref<4xi32>, memref<33x32xbf16>) -> ()
  return
}

// One each: the subgroups of a block have consecutive tokens.
// CHECK-LABEL: func.func @one_each
// CHECK-NOT: symm.take
func.func @one_each(%y: memref<128x32xbf16, #symm.space>,
    %rows: memref<32x4xi32>, %src: memref<128xi32>, %from: memref<4xi32>,
    %out: memref<32x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {kernel = #moe.kernel<blocks = 2>, num_experts = 16 : i64}
    : (memref<128x32xbf16, #symm.space>, memref<32x4xi32>, memref<128xi32>,
       memref<4xi32>, memref<32x32xbf16>) -> ()
  return
}

// Two subgroups share a token, and need not be of one block.
// CHECK-LABEL: func.func @shares
// CHECK: symm.phase "reduce"
// CHECK: arith.cmpi ult, %{{.*}}, %c34
// CHECK: ^bb0(%[[SHARE:.*]]: index,
// CHECK: arith.divui %[[SHARE]], %c2
// CHECK-NEXT: arith.remui %[[SHARE]], %c2
func.func @shares(%y: memref<68x512xbf16, #symm.space>,
    %rows: memref<17x4xi32>, %src: memref<68xi32>, %from: memref<4xi32>,
    %out: memref<17x512xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {kernel = #moe.kernel<blocks = 2, team = 2>, num_experts = 16 : i64}
    : (memref<68x512xbf16, #symm.space>, memref<17x4xi32>, memref<68xi32>,
       memref<4xi32>, memref<17x512xbf16>) -> ()
  return
}

// Numbers that 32 bits do not hold are no tickets.
// CHECK-LABEL: func.func @too_many_shares
// CHECK-NOT: symm.take
// CHECK: scf.for {{.*}} to %c134217728 step
// CHECK-NOT: symm.take
func.func @too_many_shares(%y: memref<134217728x8xbf16, #symm.space>,
    %rows: memref<134217728x1xi32>, %src: memref<134217728xi32>, %from: memref<1xi32>,
    %out: memref<134217728x8xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep1
      {kernel = #moe.kernel<team = 16>, num_experts = 16 : i64}
    : (memref<134217728x8xbf16, #symm.space>, memref<134217728x1xi32>, memref<134217728xi32>,
       memref<1xi32>, memref<134217728x8xbf16>) -> ()
  return
}
