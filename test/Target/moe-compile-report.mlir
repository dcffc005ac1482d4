// RUN: moe-compile %s --report | FileCheck %s
// RUN: moe-compile %s --report=json | FileCheck %s --check-prefix=JSON
// RUN: moe-compile %s --report=json | %python -m json.tool > /dev/null
// RUN: moe-compile %s --emit=symm --report 2> %t.err | FileCheck %s --check-prefix=STDOUT
// RUN: FileCheck %s --check-prefix=STDERR < %t.err
// REQUIRES: python

// Row of the dispatch: 64 bf16, 2 ids, 2 weights, 1 source: 148 bytes. A token
// goes to at most 2 other ranks: 128 * 2 * 148 bytes.
// CHECK: op location rows row bytes symmetric bytes wire bytes
// CHECK-NEXT: moe.dispatch moe-compile-report.mlir:{{[0-9]+}}:5 512 148 {{[1-9][0-9]+}} 37888
// A row may come back from each of 3 other ranks: 128 * 3 * 128 bytes.
// CHECK-NEXT: moe.combine moe-compile-report.mlir:{{[0-9]+}}:10 512 128 {{[1-9][0-9]+}} 49152
// The number of rows is not known.
// CHECK-NEXT: moe.alltoallv moe-compile-report.mlir:{{[0-9]+}}:12 20 16 {{[1-9][0-9]+}} ?
// CHECK-NEXT: ranks: 4
// CHECK-NEXT: symmetric workspace: {{[1-9][0-9]+}} bytes per rank, {{[1-9][0-9]+}} of them kept from run to run
// CHECK-NEXT: entry memory kept bytes temporary bytes
// CHECK-NEXT: roundtrip shared {{[1-9][0-9]+}} 75776
// CHECK-NEXT: blocks own {{[1-9][0-9]+}} 320
// CHECK-NEXT: artifact: {{[1-9][0-9]+}} bytes

// JSON: "op": "moe.dispatch"
// JSON: "rows": 512
// JSON: "row_bytes": 148
// JSON: "wire_bytes": 37888
// JSON: "wire_bytes": null
// JSON: "ranks": 4
// JSON: "entries": [
// JSON: "name": "roundtrip"
// JSON: "own_workspace": false
// JSON: "persistent_bytes": {{[1-9][0-9]+}}
// JSON: "temporary_bytes": 75776
// JSON: "name": "blocks"
// JSON: "own_workspace": true

// STDOUT-NOT: row bytes
// STDOUT: symm.put
// STDERR: row bytes
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
func.func @blocks(%x: tensor<?x4xf32>, %n: tensor<4xi32>) -> tensor<20x4xf32>
    attributes {symm.own_workspace} {
  %r, %m = moe.alltoallv %x, %n on @ep {overflow = #moe.overflow<drop>}
    : (tensor<?x4xf32>, tensor<4xi32>) -> (tensor<20x4xf32>, tensor<4xi32>)
  return %r : tensor<20x4xf32>
}
