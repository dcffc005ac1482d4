// Flags that say what the compiler does.
// RUN: moe-compile %s -o %t.so --remarks 2>&1 | FileCheck %s --check-prefix=REMARKS
// RUN: moe-compile %s -o %t.so --remarks=no-such-category 2>&1 | FileCheck %s --check-prefix=NONE --allow-empty
// RUN: moe-compile %s -o %t.so --mlir-timing 2>&1 | FileCheck %s --check-prefix=TIMING
// RUN: moe-compile %s -o %t.so --mlir-print-ir-after=convert-moe-to-symm 2>&1 | FileCheck %s --check-prefix=AFTER
// RUN: moe-compile %s --emit=symm --combine-algorithm=push | FileCheck %s --check-prefix=PUSH
// RUN: moe-compile %s --emit=symm --combine-algorithm=pull | FileCheck %s --check-prefix=PULL
// RUN: moe-compile %s -o %t.native.so --cpu=native
// RUN: llvm-readelf --string-dump=.rodata %t.native.so | FileCheck %s --check-prefix=NATIVE
// RUN: moe-compile --help | FileCheck %s --check-prefix=HELP

// REMARKS: moe-compile-flags.mlir:{{[0-9]+}}:{{[0-9]+}}: remark: {{.*}}moe-plan
// NONE-NOT: remark
// TIMING: Execution time report
// TIMING: ConvertMoEToSymmPass
// AFTER: IR Dump After ConvertMoEToSymmPass
// AFTER: symm.collective_begin "moe.combine"
// PUSH: symm.put
// PULL-NOT: symm.put
// PULL: symm.peer
// NATIVE: "cpu":"x86-64{{(-v[234])?}}","hash"
// HELP: USAGE: moe-compile [options] <input file>
// HELP-DAG: --emit=<value>
// HELP-DAG: =symm - the one-sided protocol
// HELP-DAG: --report[=<format>]
shard.grid @ep(shape = 2)
func.func @back(%y: tensor<16x8xf32>, %row: tensor<8x2xi32>,
                %src: tensor<16xi32>, %from: tensor<2xi32>)
    -> tensor<8x8xf32> {
  %out = moe.combine %y, %row, %src, %from on @ep {num_experts = 4 : i64}
      : (tensor<16x8xf32>, tensor<8x2xi32>, tensor<16xi32>, tensor<2xi32>)
     -> tensor<8x8xf32>
  return %out : tensor<8x8xf32>
}
