// Kernels that run on fibers of the CPU, for tests.
// RUN: moe-compile %s --kernels=fibers --blocks=3 --threads=64 --emit=llvm | FileCheck %s
// RUN: moe-compile %s --kernels=fibers --transfer=stores --team=1 -o %t.so
// RUN: not moe-compile %s --kernels=fibers --target=cuda -o %t.so 2>&1 | FileCheck %s --check-prefix=CUDA
// RUN: not moe-compile %s --kernels=fibers --ptx-version=80 -o %t.so 2>&1 | FileCheck %s --check-prefix=PTX
// RUN: not moe-compile %s --threads=64 -o %t.so 2>&1 | FileCheck %s --check-prefix=HOST
// The option is for tests, and the calls are for nobody else.
// RUN: moe-compile --help | FileCheck %s --check-prefix=HELP
// RUN: sed -e 's/\/\/ADD //' %s | not moe-compile - -o %t.so 2>&1 | FileCheck %s --check-prefix=SYMBOL

// CHECK: define internal void @local.exchange_fiber_0(
// CHECK: call void @moe_fiber_barrier(
// CHECK: define void @moe_entry_exchange(
// CHECK: call void @moe_fiber_launch(ptr {{.*}}@local.exchange_fiber_0, ptr {{.*}}, i64 3, i64 64, i64 {{[0-9]+}})

// CUDA: moe-compile: error: option 'kernels' (fibers) is for target host ('cuda' given)
// PTX: moe-compile: error: option 'ptx-version' is for target cuda ('host' given)
// HOST: moe-compile: error: option 'threads' is for target cuda ('host' given)
// HELP-NOT: fibers
// SYMBOL: 'func.call' op expects 'moe_fiber_yield' to have a body

shard.grid @ep(shape = 2)
//ADD func.func private @moe_fiber_yield() -> ()
func.func @exchange(%send: tensor<10x4xf32>, %counts: tensor<2xi32>) -> tensor<20x4xf32> {
  //ADD func.call @moe_fiber_yield() : () -> ()
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<10x4xf32>, tensor<2xi32>) -> (tensor<20x4xf32>, tensor<2xi32>)
  return %recv : tensor<20x4xf32>
}
