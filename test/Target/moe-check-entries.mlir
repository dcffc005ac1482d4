// RUN: moe-opt %s --moe-check-entries=target=host
// RUN: moe-opt %s --moe-check-entries=target=cuda

// What frontends make of a layer passes on both targets.
#id = affine_map<(i) -> (i)>
shard.grid @ep(shape = 2)
func.func private @unused(tensor<4xf32>) -> tensor<4xf32>
func.func private @helper(%x: tensor<?xbf16>) -> tensor<?xbf16> {
  return %x : tensor<?xbf16>
}
func.func @layer(%x: tensor<?xbf16>, %ids: tensor<?xi64>, %n: index)
    -> (tensor<?xbf16>, tensor<?xi1>) {
  %c0 = arith.constant 0 : index
  %some = arith.cmpi ne, %n, %c0 : index
  cf.assert %some, "no tokens"
  %e = tensor.empty(%n) : tensor<?xbf16>
  %b = tensor.empty(%n) : tensor<?xi1>
  %y, %m = linalg.generic {indexing_maps = [#id, #id, #id, #id], iterator_types = ["parallel"]}
      ins(%x, %ids : tensor<?xbf16>, tensor<?xi64>) outs(%e, %b : tensor<?xbf16>, tensor<?xi1>) {
  ^bb0(%a: bf16, %i: i64, %u: bf16, %v: i1):
    %s = math.absi %i : i64
    %w = arith.remf %a, %a : bf16
    %t = math.isnan %w : bf16
    linalg.yield %w, %t : bf16, i1
  } -> (tensor<?xbf16>, tensor<?xi1>)
  %z = func.call @helper(%y) : (tensor<?xbf16>) -> tensor<?xbf16>
  return %z, %m : tensor<?xbf16>, tensor<?xi1>
}
// Nothing has room for the product of these extents, but one of them is 0.
func.func @nothing(%x: tensor<0x4611686018427387904xf32>) {
  return
}
