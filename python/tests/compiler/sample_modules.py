"""Modules that the tests of the compiler share."""

EXCHANGE = """\
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)
    -> (tensor<12x4xf32>, tensor<2xi32>) {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<6x4xf32>, tensor<2xi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  return %recv, %n : tensor<12x4xf32>, tensor<2xi32>
}
"""

# Attributes nested so deeply that the parser overflows its stack.
CRASHING = "module attributes {a = " + "[" * 4_000_000

# A private function without a body: what a pass of the compiler refuses.
BODILESS = """\
func.func private @g(tensor<4xf32>)
func.func @f(%x: tensor<4xf32>) {
  call @g(%x) : (tensor<4xf32>) -> ()
  return
}
"""
