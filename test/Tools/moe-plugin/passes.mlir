// Passes and pipelines of this project in the stock mlir-opt. (It parses its
// flags before it loads plugins, so that --pass-pipeline knows the names and
// flags like --moe-to-host do not exist.)

// RUN: mlir-opt %s --load-dialect-plugin=%moe_lib/MoEPlugin.so \
// RUN:   --load-pass-plugin=%moe_lib/MoEPlugin.so \
// RUN:   --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries},moe-place-symmetric-buffers,convert-moe-to-symm)' \
// RUN:   | FileCheck %s --check-prefix=SYMM
// RUN: mlir-opt %s --load-dialect-plugin=%moe_lib/MoEPlugin.so \
// RUN:   --load-pass-plugin=%moe_lib/MoEPlugin.so \
// RUN:   --pass-pipeline='builtin.module(moe-to-host)' > %t
// RUN: FileCheck %s --check-prefix=HOST < %t

// Nothing of ours is left: the stock mlir-opt reads the result without a plugin.
// RUN: mlir-opt %t -o /dev/null

shard.grid @ep(shape = 2)

// SYMM-LABEL: func.func @exchange
// SYMM-NOT:     moe.alltoallv %
// SYMM:         symm.collective_begin "moe.alltoallv" site 0
// SYMM:         symm.put
// SYMM:         symm.signal
// SYMM:         symm.wait
// SYMM:         symm.collective_end

// HOST-DAG:   llvm.func @moert_wait
// HOST-DAG:   llvm.func {{.*}}@moe_entry_exchange
func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)
    -> (tensor<12x4xf32>, tensor<2xi32>) {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<6x4xf32>, tensor<2xi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  return %recv, %n : tensor<12x4xf32>, tensor<2xi32>
}
