// RUN: moe-opt %s | moe-opt | FileCheck %s

// What has its default value is not printed.
// CHECK: all = #moe.kernel<blocks = 16, threads = 96, transfer = bulk, stages = 32>
// CHECK-SAME: defaults = #moe.kernel<>
// CHECK-SAME: some = #moe.kernel<threads = 1024, team = 32>
module attributes {test.attrs = {
    all = #moe.kernel<blocks = 16, threads = 96, transfer = bulk, stages = 32, team = 1>,
    defaults = #moe.kernel<blocks = 132, threads = 512, transfer = stores, stages = 3, team = 1>,
    some = #moe.kernel<team = 32, threads = 1024>}} {
}
