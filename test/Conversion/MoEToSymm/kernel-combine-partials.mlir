// Sums of ranks that are put into slots of the tokens' ranks, which ask for them.
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @push
// CHECK-SAME: (%[[Y:[a-z0-9]+]]: memref<264x32xbf16>, %[[ROWS:[a-z0-9]+]]: memref<66x3xi32>,
// What ranks ask for: as many rows of each token as it may have here, two. Slots hold f32.
// CHECK: %[[WORDS:.*]] = symm.alloc persistent : memref<528xi64, #symm.space>
// CHECK: %[[SLOTS:.*]] = symm.alloc : memref<264x32xf32, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<264xi64, #symm.space>
// CHECK: gpu.launch
// CHECK: symm.phase "ready"
// CHECK: symm.signal
// Nobody is waited for before the rows are asked for. The value of a signal is all
// that it says.
// CHECK-NOT: symm.wait
// CHECK: symm.phase "ask"
// CHECK: %[[BASE:.*]] = arith.shli %[[EPOCH:.*]], %c32_i64
// CHECK: scf.for %[[TOKEN:.*]] = %{{.*}} to %c66
// CHECK: memref.load %[[ROWS]][%[[TOKEN]],
// CHECK: symm.check {{.*}}, invalid_count, "send_row"
// CHECK: %[[VALUE:.*]] = arith.addi %[[BASE]], %{{.*}} : i64
// CHECK: symm.signal %[[WORDS]][%{{.*}}] at %{{.*}}, %[[VALUE]] relaxed
// CHECK: symm.phase "ready"
// CHECK: symm.wait
// CHECK: nvvm.barrier #nvvm.reduction<and>
// A holder waits for what it is asked for, adds its rows up in f32, and puts the sum.
// CHECK: symm.phase "put"
// CHECK: scf.while
// CHECK: %[[SEEN:.*]] = symm.wait %[[WORDS]][%{{.*}}] from %[[OWNER:.*]], %[[BASE]]
// CHECK: arith.cmpi sge, %[[SEEN]], %[[BASE]]
// CHECK: arith.trunci %[[SEEN]] : i64 to i32
// CHECK: %[[THERE:.*]] = symm.peer %[[SLOTS]] at %[[OWNER]]
// CHECK: vector.load %[[Y]]
// CHECK: vector.store %{{.*}}, %[[THERE]][%[[SLOT:.*]], %{{.*}}] {{.*}}, vector<8xf32>
// CHECK: arith.mulf
// CHECK: arith.addf %{{.*}} : vector<8xf32>
// CHECK-NOT: arith.truncf
// CHECK: nvvm.bar.warp.sync
// CHECK: symm.signal %[[ARRIVED]][%[[SLOT]]] at %[[OWNER]], %[[EPOCH]] :
// Slots are added, a lane for each rank.
// CHECK: symm.phase "reduce"
// CHECK: symm.wait %[[ARRIVED]]
// CHECK: vector.load %{{.*}} : memref<264x32xf32, #symm.space>, vector<4xf32>
// CHECK: arith.addf %{{.*}} : vector<4xf32>
// CHECK: arith.truncf %{{.*}} : vector<4xf32> to vector<4xbf16>
// CHECK: symm.phase "release"
func.func @push(%y: memref<264x32xbf16>, %rows: memref<66x3xi32>,
    %src: memref<264xi32>, %from: memref<4xi32>, %idx: memref<66x3xi32>,
    %w: memref<264xf32>, %out: memref<66x32xbf16>) {
  moe.combine %y, %rows, %src, %from topk(%idx) weights(%w) outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, kernel = #moe.kernel<blocks = 2>,
       layout = #moe.layout<expert_major>, num_experts = 8 : i64}
    : (memref<264x32xbf16>, memref<66x3xi32>, memref<264xi32>, memref<4xi32>,
       memref<66x3xi32>, memref<264xf32>, memref<66x32xbf16>) -> ()
  return
}

// Sums that are rounded before they are put, and how many tokens ranks have.
// CHECK-LABEL: func.func @element
// CHECK: symm.alloc persistent : memref<528xi64, #symm.space>
// CHECK: %[[TOKENS:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[SLOTS:.*]] = symm.alloc : memref<264x32xbf16, #symm.space>
// CHECK: symm.phase "ask"
// CHECK: symm.signal %[[TOKENS]]{{.*}} relaxed
// CHECK: symm.wait %[[TOKENS]]
// CHECK: symm.phase "put"
// CHECK: %[[THERE:.*]] = symm.peer %[[SLOTS]]
// CHECK: arith.truncf %{{.*}} : vector<8xf32> to vector<8xbf16>
// CHECK: vector.store %{{.*}}, %[[THERE]]
// CHECK: symm.phase "reduce"
// CHECK: arith.extf %{{.*}} : vector<8xbf16> to vector<8xf32>
func.func @element(%y: memref<264x32xbf16>, %rows: memref<?x3xi32>,
    %src: memref<264xi32>, %from: memref<4xi32>, %idx: memref<?x3xi32>,
    %w: memref<264xf32>, %out: memref<?x32xbf16>) {
  moe.combine %y, %rows, %src, %from topk(%idx) weights(%w) outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, kernel = #moe.kernel<blocks = 2>,
       layout = #moe.layout<expert_major>, num_experts = 8 : i64,
       max_tokens = 66 : i64, partials = #moe.partials<element>}
    : (memref<264x32xbf16>, memref<?x3xi32>, memref<264xi32>, memref<4xi32>,
       memref<?x3xi32>, memref<264xf32>, memref<?x32xbf16>) -> ()
  return
}

// The only row of a token keeps its bits in a longer element: it is asked for by a
// number below -1.
// CHECK-LABEL: func.func @bits
// CHECK: symm.phase "ask"
// CHECK: arith.subi %c-2,
// CHECK: symm.phase "put"
// CHECK: arith.cmpi slt, %{{.*}}, %c-1
// CHECK: arith.bitcast %{{.*}} : vector<8xbf16> to vector<8xi16>
// CHECK-NEXT: arith.extui %{{.*}} : vector<8xi16> to vector<8xi32>
// CHECK-NEXT: arith.bitcast %{{.*}} : vector<8xi32> to vector<8xf32>
// CHECK: symm.phase "reduce"
// CHECK: arith.trunci %{{.*}} : vector<4xi32> to vector<4xi16>
func.func @bits(%y: memref<264x32xbf16>, %rows: memref<66x3xi32>,
    %src: memref<264xi32>, %from: memref<4xi32>, %idx: memref<66x3xi32>,
    %out: memref<66x32xbf16>) {
  moe.combine %y, %rows, %src, %from topk(%idx) outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, kernel = #moe.kernel<blocks = 2>,
       layout = #moe.layout<expert_major>, num_experts = 8 : i64}
    : (memref<264x32xbf16>, memref<66x3xi32>, memref<264xi32>, memref<4xi32>,
       memref<66x3xi32>, memref<66x32xbf16>) -> ()
  return
}

// There is a subgroup for each sum: all put one, without tickets, and then add up a
// token, whose rows they have looked up before. Nothing is put for this rank: its own
// rows are added up while the sums of others are on their way. Lanes store 16 bytes of a
// sum.
// CHECK-LABEL: func.func @one_round
// CHECK-SAME: (%[[Y:[a-z0-9]+]]: memref<264x32xbf16>
// CHECK-NOT: symm.take
// CHECK: symm.phase "ask"
// CHECK: memref.load
// CHECK: memref.load
// CHECK: symm.phase "ready"
// CHECK: symm.phase "put"
// CHECK: %[[SHARES:.*]] = arith.select %{{.*}}, %c198, %c0
// CHECK: %[[ALL:.*]] = arith.muli %{{.*}}, %c16
// CHECK-NEXT: scf.for %{{.*}} = %{{.*}} to %[[SHARES]] step %[[ALL]]
// CHECK: vector.store %{{.*}} vector<4xf32>
// CHECK: symm.phase "reduce"
// CHECK: scf.for %{{.*}} = %{{.*}} to %c66 step
// CHECK: vector.load %[[Y]]{{.*}} vector<4xbf16>
// CHECK: symm.wait
// CHECK: symm.phase "release"
func.func @one_round(%y: memref<264x32xbf16>, %rows: memref<66x3xi32>,
    %src: memref<264xi32>, %from: memref<4xi32>, %idx: memref<66x3xi32>,
    %w: memref<264xf32>, %out: memref<66x32xbf16>) {
  moe.combine %y, %rows, %src, %from topk(%idx) weights(%w) outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, kernel = #moe.kernel<blocks = 17>,
       layout = #moe.layout<expert_major>, num_experts = 8 : i64}
    : (memref<264x32xbf16>, memref<66x3xi32>, memref<264xi32>, memref<4xi32>,
       memref<66x3xi32>, memref<264xf32>, memref<66x32xbf16>) -> ()
  return
}
