// What joins loads, by the bytes of a vector.
// RUN: moe-opt %s --convert-symm-to-nvvm | FileCheck %s

module attributes {gpu.container_module} {
  gpu.module @kernels {
    // The first words of all operands, and-ed with a zero, go into every word of each value.
    // CHECK-LABEL: gpu.func @bytes_16
    // CHECK-SAME: %[[A:.*]]: vector<8xbf16>, %[[B:.*]]: vector<8xbf16>, %[[C:.*]]: vector<8xbf16>, %[[OUT:.*]]: memref<2x8xbf16>,
    // The zero is a bit of the address of the error record, in every bit of a word.
    // CHECK: %[[ADDRESS:.*]] = llvm.ptrtoint %{{.*}} : !llvm.ptr<1> to i32
    // CHECK: %[[BIT:.*]] = arith.andi %[[ADDRESS]], %c1_i32
    // CHECK: %[[ZERO:.*]] = arith.subi %c0_i32{{.*}}, %[[BIT]] : i32
    // CHECK: %[[A_WORDS:.*]] = vector.bitcast %[[A]] : vector<8xbf16> to vector<4xi32>
    // CHECK-NEXT: %[[A_FIRST:.*]] = vector.extract %[[A_WORDS]][0] : i32 from vector<4xi32>
    // CHECK-NEXT: %[[B_WORDS:.*]] = vector.bitcast %[[B]] : vector<8xbf16> to vector<4xi32>
    // CHECK-NEXT: %[[B_FIRST:.*]] = vector.extract %[[B_WORDS]][0] : i32 from vector<4xi32>
    // CHECK-NEXT: %[[TWO:.*]] = arith.xori %[[A_FIRST]], %[[B_FIRST]] : i32
    // CHECK-NEXT: %[[C_WORDS:.*]] = vector.bitcast %[[C]] : vector<8xbf16> to vector<4xi32>
    // CHECK-NEXT: %[[C_FIRST:.*]] = vector.extract %[[C_WORDS]][0] : i32 from vector<4xi32>
    // CHECK-NEXT: %[[ALL:.*]] = arith.xori %[[TWO]], %[[C_FIRST]] : i32
    // CHECK-NEXT: %[[NONE:.*]] = arith.andi %[[ALL]], %[[ZERO]] : i32
    // CHECK-NEXT: %[[A_BITS:.*]] = vector.bitcast %[[A]] : vector<8xbf16> to vector<4xi32>
    // CHECK-NEXT: %[[SPREAD:.*]] = vector.broadcast %[[NONE]] : i32 to vector<4xi32>
    // CHECK-NEXT: %[[A_JOINED:.*]] = arith.xori %[[A_BITS]], %[[SPREAD]] : vector<4xi32>
    // CHECK-NEXT: %[[A_RESULT:.*]] = vector.bitcast %[[A_JOINED]] : vector<4xi32> to vector<8xbf16>
    // CHECK-NEXT: %[[B_BITS:.*]] = vector.bitcast %[[B]] : vector<8xbf16> to vector<4xi32>
    // CHECK-NEXT: %[[SPREAD2:.*]] = vector.broadcast %[[NONE]] : i32 to vector<4xi32>
    // CHECK-NEXT: %[[B_JOINED:.*]] = arith.xori %[[B_BITS]], %[[SPREAD2]] : vector<4xi32>
    // CHECK-NEXT: %[[B_RESULT:.*]] = vector.bitcast %[[B_JOINED]] : vector<4xi32> to vector<8xbf16>
    // CHECK-NOT: arith
    // CHECK: vector.store %[[A_RESULT]], %[[OUT]][%c0, %c0]
    // CHECK-NEXT: vector.store %[[B_RESULT]], %[[OUT]][%c1, %c0]
    gpu.func @bytes_16(%a: vector<8xbf16>, %b: vector<8xbf16>, %c: vector<8xbf16>, %out: memref<2x8xbf16>) kernel {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %0:2 = symm.join_loads %a, %b with %c : vector<8xbf16>, vector<8xbf16> with vector<8xbf16>
      vector.store %0#0, %out[%c0, %c0] : memref<2x8xbf16>, vector<8xbf16>
      vector.store %0#1, %out[%c1, %c0] : memref<2x8xbf16>, vector<8xbf16>
      gpu.return
    }
    // A word of 16 bits is extended to a register for the zero, and cut for the value.
    // CHECK-LABEL: gpu.func @bytes_2
    // CHECK-SAME: %[[A:.*]]: vector<1xf16>, %[[B:.*]]: vector<1xf16>, %[[OUT:.*]]: memref<1xf16>,
    // CHECK: %[[ZERO:.*]] = arith.subi %{{.*}}, %{{.*}} : i32
    // CHECK: %[[A_WORDS:.*]] = vector.bitcast %[[A]] : vector<1xf16> to vector<1xi16>
    // CHECK-NEXT: %[[A_HALF:.*]] = vector.extract %[[A_WORDS]][0] : i16 from vector<1xi16>
    // CHECK-NEXT: %[[A_FIRST:.*]] = arith.extui %[[A_HALF]] : i16 to i32
    // CHECK-NEXT: %[[B_WORDS:.*]] = vector.bitcast %[[B]] : vector<1xf16> to vector<1xi16>
    // CHECK-NEXT: %[[B_HALF:.*]] = vector.extract %[[B_WORDS]][0] : i16 from vector<1xi16>
    // CHECK-NEXT: %[[B_FIRST:.*]] = arith.extui %[[B_HALF]] : i16 to i32
    // CHECK-NEXT: %[[ALL:.*]] = arith.xori %[[A_FIRST]], %[[B_FIRST]] : i32
    // CHECK-NEXT: %[[NONE:.*]] = arith.andi %[[ALL]], %[[ZERO]] : i32
    // CHECK-NEXT: %[[HALF:.*]] = arith.trunci %[[NONE]] : i32 to i16
    // CHECK-NEXT: %[[BITS:.*]] = vector.bitcast %[[A]] : vector<1xf16> to vector<1xi16>
    // CHECK-NEXT: %[[SPREAD:.*]] = vector.broadcast %[[HALF]] : i16 to vector<1xi16>
    // CHECK-NEXT: %[[JOINED:.*]] = arith.xori %[[BITS]], %[[SPREAD]] : vector<1xi16>
    // CHECK-NEXT: %[[RESULT:.*]] = vector.bitcast %[[JOINED]] : vector<1xi16> to vector<1xf16>
    // CHECK-NEXT: vector.store %[[RESULT]], %[[OUT]][%c0]
    gpu.func @bytes_2(%a: vector<1xf16>, %b: vector<1xf16>, %out: memref<1xf16>) kernel {
      %c0 = arith.constant 0 : index
      %0 = symm.join_loads %a with %b : vector<1xf16> with vector<1xf16>
      vector.store %0, %out[%c0] : memref<1xf16>, vector<1xf16>
      gpu.return
    }
    // Words of different sizes meet in a register; 8 bytes are two words.
    // CHECK-LABEL: gpu.func @mixed
    // CHECK-SAME: %[[A:.*]]: vector<2xf32>, %[[B:.*]]: vector<1xi8>,
    // CHECK: %[[A_WORDS:.*]] = vector.bitcast %[[A]] : vector<2xf32> to vector<2xi32>
    // CHECK-NEXT: %[[A_FIRST:.*]] = vector.extract %[[A_WORDS]][0] : i32 from vector<2xi32>
    // CHECK-NEXT: %[[B_WORDS:.*]] = vector.bitcast %[[B]] : vector<1xi8> to vector<1xi8>
    // CHECK-NEXT: %[[B_BYTE:.*]] = vector.extract %[[B_WORDS]][0] : i8 from vector<1xi8>
    // CHECK-NEXT: %[[B_FIRST:.*]] = arith.extui %[[B_BYTE]] : i8 to i32
    // CHECK-NEXT: %[[ALL:.*]] = arith.xori %[[A_FIRST]], %[[B_FIRST]] : i32
    // CHECK: arith.andi %[[ALL]], %{{.*}} : i32
    // CHECK-NOT: arith.trunci
    // CHECK: vector.store
    gpu.func @mixed(%a: vector<2xf32>, %b: vector<1xi8>, %out: memref<2xf32>) kernel {
      %c0 = arith.constant 0 : index
      %0 = symm.join_loads %a with %b : vector<2xf32> with vector<1xi8>
      vector.store %0, %out[%c0] : memref<2xf32>, vector<2xf32>
      gpu.return
    }
  }
}
