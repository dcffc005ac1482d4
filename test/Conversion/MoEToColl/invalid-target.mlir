// RUN: not moe-opt %s --convert-moe-to-coll=target=tpu 2>&1 | FileCheck %s
// CHECK: error: convert-moe-to-coll expects 'target' to be host or cuda (tpu)
module {
}
