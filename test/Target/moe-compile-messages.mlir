// An artifact whose ranks exchange messages: its stage, its report and its
// manifest.
//
// RUN: moe-compile %s --transport=messages --emit=coll | FileCheck %s --implicit-check-not=#symm.space
// RUN: moe-compile %s --transport=messages -o %t.so --report | tr -s ' ' | FileCheck %s --check-prefix=REPORT
// RUN: moe-compile %s --transport=messages --report=json | FileCheck %s --check-prefix=JSON
// RUN: llvm-strings %t.so | FileCheck %s --check-prefix=MANIFEST
// RUN: llvm-nm -D --undefined-only %t.so | FileCheck %s --check-prefix=SYMBOLS
// RUN: moe-compile %s -o %t.direct.so
// RUN: llvm-strings %t.direct.so | FileCheck %s --check-prefix=DIRECT

// RUN: not moe-compile %s --transport=messages --emit=symm 2>&1 | FileCheck %s --check-prefix=NOSYMM
// NOSYMM: moe-compile: error: transport 'messages' has no stage 'symm'; expected 'coll'
// RUN: not moe-compile %s --emit=coll 2>&1 | FileCheck %s --check-prefix=NOCOLL
// NOCOLL: moe-compile: error: transport 'direct' has no stage 'coll'; expected 'symm'
// RUN: not moe-compile %s --transport=pigeons -o %t.no.so 2>&1 | FileCheck %s --check-prefix=PIGEONS
// PIGEONS: moe-compile: error: unknown transport 'pigeons'; expected direct or messages

// CHECK: coll.all_gather
// CHECK: coll.exchange
// The rows go straight to the result.
// CHECK-NEXT: coll.rows %{{.*}} to %[[RECV:[a-z0-9_]+]][
// CHECK: coll.all_to_all
// CHECK: coll.exchange
// The rows come straight from it.
// CHECK-NEXT: coll.rows %[[RECV]][

// Tables: four counts to each of three ranks; a first row and a number to each.
// REPORT: op location rows row bytes table bytes wire bytes
// REPORT-NEXT: moe.dispatch moe-compile-messages.mlir:[[#]]:5 512 148 48 37888
// REPORT-NEXT: moe.combine moe-compile-messages.mlir:[[#]]:{{[0-9]+}} 512 128 24 49152
// REPORT-NEXT: ranks: 4
// REPORT-NEXT: messages: no symmetric memory

// JSON: "symmetric_bytes": 0
// JSON: "table_bytes": 48
// JSON-NOT: "padded"
// JSON: "transport": "messages"
// JSON: "workspace_bytes": 0

// MANIFEST: "ranks":4,"symm_bytes":0,"transport":"messages","entries":
// DIRECT-NOT: "transport"

// SYMBOLS-NOT: moert_symm
// SYMBOLS-DAG: moert_all_gather
// SYMBOLS-DAG: moert_all_to_all
// SYMBOLS-DAG: moert_exchange_begin
// SYMBOLS-DAG: moert_exchange_end
// SYMBOLS-DAG: moert_exchange_rows
// SYMBOLS-NOT: moert_wait
shard.grid @ep(shape = 4)
func.func @roundtrip(%x: tensor<?x64xbf16>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x64xbf16> {
  %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
         tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  %out = moe.combine %recv_x, %send_row, %recv_src, %n_from on @ep
      {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<512x64xbf16>, tensor<?x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<?x64xbf16>
  return %out : tensor<?x64xbf16>
}

// RUN: not moe-compile %s --schedule=padded -o %t.no.so 2>&1 | FileCheck %s --check-prefix=SCHEDULE
// SCHEDULE: moe-compile: error: option 'schedule' is for transport messages ('direct' given)
// RUN: not moe-compile %s --transport=messages --pair-capacity=5 -o %t.no.so 2>&1 | FileCheck %s --check-prefix=EXACT
// EXACT: moe-compile: error: option 'pair-capacity' is for schedule padded ('auto' given)
// RUN: not moe-compile %s --transport=messages --schedule=padded --pair-capacity=-1 -o %t.no.so 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// NEGATIVE: moe-compile: error: option 'pair-capacity' expects a number of rows, got '-1'
// RUN: moe-compile %s --transport=messages --schedule=padded --pair-capacity=7 --emit=coll | FileCheck %s --check-prefix=PADDED
// PADDED: memref.alloc(){{.*}} : memref<28x64xbf16>

// What messages have room for travels, whatever is in it: to each of three
// ranks 128 rows, the most that can come, or as many as the capacity says.
// RUN: moe-compile %s --transport=messages --schedule=padded --report --emit=coll 2>&1 >/dev/null | tr -s ' ' | FileCheck %s --check-prefix=PADDEDREPORT
// PADDEDREPORT: moe.dispatch {{.*}} 512 148 48 56832
// PADDEDREPORT-NEXT: moe.combine {{.*}} 512 128 24 49152
// RUN: moe-compile %s --transport=messages --schedule=padded --pair-capacity=7 --report=json --emit=coll 2>&1 >/dev/null | FileCheck %s --check-prefix=CAPACITY
// CAPACITY: "wire_bytes": 3108
// CAPACITY: "padded": true
// CAPACITY: "wire_bytes": 2688
// RUN: moe-compile %s --target=nccl --schedule=padded --pair-capacity=7 --report --emit=coll 2>&1 >/dev/null | tr -s ' ' | FileCheck %s --check-prefix=KERNELS
// KERNELS: moe.dispatch {{.*}} 512 148 48 3108
// KERNELS-NEXT: moe.combine {{.*}} 512 128 24 2688
