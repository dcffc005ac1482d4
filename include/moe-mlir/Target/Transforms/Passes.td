//===- Passes.td - target passes --------------------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_TRANSFORMS_PASSES_TD
#define MOE_MLIR_TARGET_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def MoERenameSymbolsPass : Pass<"moe-rename-symbols", "::mlir::ModuleOp"> {
  let summary = "give functions and globals names that every target can use";
  let description = [{
    Symbols of a module may have any name; names in PTX, and of what a lowering
    calls, are taken or restricted. Functions with a body and globals whose name
    is no identifier, is longer than 96 characters, or is that of a library
    function get one that is, and that no other symbol has. An entry's own name,
    under which callers find it, is noted as `moe.entry_name`.

    Before:

    ```mlir
    func.func @"layer.forward"(%x: tensor<4xf32>) -> tensor<4xf32> {
      return %x : tensor<4xf32>
    }
    ```

    After:

    ```mlir
    func.func @layer_forward(%x: tensor<4xf32>) -> tensor<4xf32>
        attributes {moe.entry_name = "layer.forward"} {
      return %x : tensor<4xf32>
    }
    ```
  }];
}

def MoEPrepareEntriesPass : Pass<"moe-prepare-entries", "::mlir::ModuleOp"> {
  let summary = "check the entries of a module and note their types";
  let description = [{
    Every public function with a body is an entry of the artifact. The pass
    checks that there is one, that all arguments and results of entries are
    ranked tensors of types that the artifact ABI knows, that all grids in use
    have the same number of ranks, and that `coll` ops are for as many. It then

    - records the type of each entry as `moe.entry`, and the number of ranks as
      `moe.ranks` of the module, because bufferization hides both from
      `moe-export-entries`. Tensors marked `moe.symmetric` are noted with the
      encoding `#symm.space`; with `transport=messages`, where nothing is
      symmetric, the marks are removed instead;
    - marks arguments of entries as not writable: an entry does not change what
      its caller passes;
    - marks `symm.alloc` and `symm.free` that the module already holds as
      deallocated by hand.

    Before:

    ```mlir
    module {
      func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
        return %x : tensor<4xf32>
      }
    }
    ```

    After:

    ```mlir
    module attributes {moe.ranks = 0 : i64} {
      func.func @f(%x: tensor<4xf32> {bufferization.writable = false})
          -> tensor<4xf32>
          attributes {moe.entry = (tensor<4xf32>) -> tensor<4xf32>} {
        return %x : tensor<4xf32>
      }
    }
    ```
  }];
  let options = [
    Option<"transport", "transport", "std::string", "\"direct\"",
           "how ranks exchange rows: direct or messages">
  ];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::moe::MoEDialect",
                           "::mlir::symm::SymmDialect"];
}

def MoECheckEntriesPass : Pass<"moe-check-entries", "::mlir::ModuleOp"> {
  let summary = "check that the target can compile all that a module holds";
  let description = [{
    Reports the first op that is not among those of docs/Entries.md, has values
    of a type that it may not have on the target, or a value that no machine has
    room for. What passes has a lowering, so that later passes need not fail
    where the source is out of sight.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"host\"",
           "what is compiled for: host or cuda">
  ];
}

def MoEDecomposeAggregatesPass : Pass<"moe-decompose-aggregates"> {
  let summary = "turn linalg.softmax and its like into simpler linalg ops";
  let description = [{
    Ops of `linalg` that stand for several others (`AggregatedOpInterface`) have
    no loops of their own. Those on tensors become the ops they stand for: a
    softmax its maximum, difference, exponential, sum and quotient. That of floats
    smaller than f32 is computed in f32 and rounded once, at its end.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def MoEDecomposeTensorOpsPass : Pass<"moe-decompose-tensor-ops"> {
  let summary = "turn tensor ops that upstream does not bufferize into loops";
  let description = [{
    `tensor.gather`, `tensor.bitcast`, `linalg.pack` and `linalg.unpack` become
    `linalg.generic` over the elements of their result, which it finds by their
    indices, so that shapes may be dynamic. `tensor.concat` becomes insertions.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def MoEFillSplatsPass : Pass<"moe-fill-splats"> {
  let summary = "compute large constants of one value instead of storing them";
  let description = [{
    A tensor constant of more than 64 KiB that has one value everywhere becomes a
    `linalg.fill`. It would otherwise be data of its whole size: in the artifact,
    and on GPUs once more in device memory. An op that writes into the constant
    fills a tensor of its own, in place. Other uses share one that is filled where
    the constant stands, which may be before a branch that uses it.

    Before:

    ```mlir
    func.func @f(%a: tensor<256x256xf32>) -> tensor<256x256xf32> {
      %zero = arith.constant dense<0.0> : tensor<256x256xf32>
      %y = linalg.matmul ins(%a, %a : tensor<256x256xf32>, tensor<256x256xf32>)
          outs(%zero : tensor<256x256xf32>) -> tensor<256x256xf32>
      return %y : tensor<256x256xf32>
    }
    ```

    After:

    ```mlir
    func.func @f(%a: tensor<256x256xf32>) -> tensor<256x256xf32> {
      %0 = tensor.empty() : tensor<256x256xf32>
      %cst = arith.constant 0.0 : f32
      %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<256x256xf32>) -> tensor<256x256xf32>
      %y = linalg.matmul ins(%a, %a : tensor<256x256xf32>, tensor<256x256xf32>)
          outs(%1 : tensor<256x256xf32>) -> tensor<256x256xf32>
      return %y : tensor<256x256xf32>
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def MoESplitReductionsPass : Pass<"moe-split-reductions"> {
  let summary = "give reductions of whole tensors a parallel loop";
  let description = [{
    A reduction over all dimensions would be one thread of a GPU. Where it has
    more than 1024 elements its longest loop becomes parallel, and a second
    reduction combines the parts. One long loop of known extent is split in two.
    Both targets run the pass, so that both group the elements of a float's sum
    in the same way. Reductions whose combiner is not associative stay.

    Before:

    ```mlir
    func.func @sum(%x: tensor<64x512xi32>, %init: tensor<i32>) -> tensor<i32> {
      %0 = linalg.reduce { arith.addi } ins(%x : tensor<64x512xi32>)
          outs(%init : tensor<i32>) dimensions = [0, 1]
      return %0 : tensor<i32>
    }
    ```

    After:

    ```mlir
    func.func @sum(%x: tensor<64x512xi32>, %init: tensor<i32>) -> tensor<i32> {
      %zero = arith.constant 0 : i32
      %empty = tensor.empty() : tensor<512xi32>
      %start = linalg.fill ins(%zero : i32) outs(%empty : tensor<512xi32>)
          -> tensor<512xi32>
      %parts = linalg.reduce { arith.addi } ins(%x : tensor<64x512xi32>)
          outs(%start : tensor<512xi32>) dimensions = [0]
      %0 = linalg.reduce { arith.addi } ins(%parts : tensor<512xi32>)
          outs(%init : tensor<i32>) dimensions = [0]
      return %0 : tensor<i32>
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect"];
}

def MoEExpandScalarMathPass : Pass<"moe-expand-scalar-math"> {
  let summary = "expand math ops that neither instruction nor library computes";
  let description = [{
    Powers of integers (`math.ipowi`) become loops that square, and the ops that
    classify a float (`math.isnan` and its like) comparisons.

    Powers wrap around; those with a negative exponent are 1, -1, or 0 where the
    exact result is none of these.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect"];
}

def MoEExpandCopiesPass : Pass<"moe-expand-copies"> {
  let summary = "turn copies of strided memrefs into loops";
  let description = [{
    The LLVM lowering of `memref.copy` calls a library function of its own
    unless both sides are contiguous. This pass rewrites such copies to
    `linalg.generic`, which becomes loops.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def MoEUseRuntimeAllocatorPass
    : Pass<"moe-use-runtime-allocator", "::mlir::ModuleOp"> {
  let summary = "allocate memory with the runtime's functions";
  let description = [{
    Redirects the generic allocation functions of the memref lowering to
    `moert_alloc` and `moert_free`. Alignment is at least 64 bytes.

    Before:

    ```text
    %0 = llvm.call @_mlir_memref_to_llvm_alloc(%bytes) : (i64) -> !llvm.ptr
    ```

    After:

    ```text
    %align = llvm.mlir.constant(64 : i64) : i64
    %0 = llvm.call @moert_alloc(%bytes, %align) : (i64, i64) -> !llvm.ptr
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def MoEStoreBF16AsIntegersPass
    : Pass<"moe-store-bf16-as-integers", "::mlir::ModuleOp"> {
  let summary = "give bf16 values that are only moved an integer type";
  let description = [{
    Arithmetic on bf16 is expanded to f32 before this pass; what is left loads,
    stores and selects. Typed as bf16 even these are not safe on a CPU without
    bf16 instructions: instruction selection may convert to f32 and back, which
    changes NaNs and calls a library function that old C libraries lack. As i16
    they stay what they are. An op that computes with bf16 is an error.

    Before:

    ```mlir
    module {
      llvm.func @move(%from: !llvm.ptr, %to: !llvm.ptr) {
        %0 = llvm.load %from : !llvm.ptr -> bf16
        llvm.store %0, %to : bf16, !llvm.ptr
        llvm.return
      }
    }
    ```

    After:

    ```mlir
    module {
      llvm.func @move(%from: !llvm.ptr, %to: !llvm.ptr) {
        %0 = llvm.load %from : !llvm.ptr -> i16
        llvm.store %0, %to : i16, !llvm.ptr
        llvm.return
      }
    }
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def MoEVerifyTargetContractPass
    : Pass<"moe-verify-target-contract", "::mlir::ModuleOp"> {
  let summary = "check that a module is fully lowered";
  let description = [{
    Reports each op that is not of the LLVM dialect, with its name and location.
    `shard.grid` may remain: it declares the group and has no code.
  }];
}

def MoEExportEntriesPass : Pass<"moe-export-entries", "::mlir::ModuleOp"> {
  let summary = "emit the interface of the artifact";
  let description = [{
    For each function with `moe.entry` a function `moe_entry_<name>` that takes
    an array of pointers to memref descriptors, and the manifest as the string
    `moe_artifact_manifest` (docs/Artifact.md). All else becomes internal to the
    artifact, under the name `local.<name>`, which no library function has.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let options = [
    Option<"target", "target", "std::string", "\"host\"",
           "name of the target, for the manifest">,
    Option<"cpu", "cpu", "std::string", "\"x86-64-v3\"",
           "x86-64 level the code is compiled for, for the manifest">,
    Option<"optLevel", "opt-level", "unsigned", "3",
           "optimization level, for the hash in the manifest">,
    Option<"transport", "transport", "std::string", "\"direct\"",
           "how ranks exchange rows, for the manifest: direct or messages">
  ];
}

def MoEMergeKernelModulesPass
    : Pass<"moe-merge-kernel-modules", "::mlir::ModuleOp"> {
  let summary = "put all kernels in one GPU module";
  let description = [{
    Outlining makes a module for each kernel. This pass moves the kernels to one,
    `@moe_kernels`, under the names of their modules, which differ. Of kernels
    that are equal it keeps the first one, for all launches; those of exchanges
    stay apart (`convert-moe-to-symm` makes one for equal ops).
  }];
  let dependentDialects = ["::mlir::gpu::GPUDialect"];
}

def MoESerializeKernelsPass
    : Pass<"moe-serialize-kernels", "::mlir::ModuleOp"> {
  let summary = "compile the GPU module to PTX or a cubin";
  let description = [{
    Replaces the GPU module, whose functions are lowered to the LLVM and NVVM
    dialects, by its PTX as the constant `moe_gpu_image`, with a zero at the end.
    No CUDA toolkit is needed. A chip that the PTX version does not know is an
    error.

    With `format=cubin` the constant is the code for `chip` that the toolkit's
    `ptxas` makes of the PTX; it is an error when that is not found.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_90\"",
           "compute capability the kernels are compiled for">,
    Option<"ptxVersion", "ptx-version", "unsigned", "0",
           "version of PTX times ten; 0 for 8.0, or the first that knows the "
           "chip">,
    Option<"optLevel", "opt-level", "unsigned", "3", "optimization level">,
    Option<"format", "format", "std::string", "\"ptx\"",
           "what the artifact holds: ptx or cubin">,
    Option<"ptxas", "ptxas", "std::string", "\"\"",
           "path of the assembler, instead of that in PATH or CUDA_HOME">
  ];
}

def MoECopyConstantsToDevicePass
    : Pass<"moe-copy-constants-to-device", "::mlir::func::FuncOp"> {
  let summary = "copy constants to device memory before they are used";
  let description = [{
    Constants of the module are host memory, which kernels cannot read. Each
    `memref.get_global` is followed by a copy to memory that is freed at the end
    of its block, or where other blocks use it before the returns that it
    dominates.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def MoEParallelLoopsToKernelsPass
    : Pass<"moe-parallel-loops-to-kernels", "::mlir::func::FuncOp"> {
  let summary = "turn host code that touches buffers into GPU kernels";
  let description = [{
    All buffers are device memory, so that host code must not load or store. An
    outermost `scf.parallel` becomes a kernel whose threads share its iterations
    and that runs on a grid of any size; the host runs loops and branches around
    it, unless it would have to wait for what they read. Other code with stores
    becomes a kernel of one thread. Loads of values that host code computes with stay for
    `moe-use-runtime-launch`. Correct, not tuned.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::scf::SCFDialect"];
}

def MoEUseRuntimeLaunchPass
    : Pass<"moe-use-runtime-launch", "::mlir::ModuleOp"> {
  let summary = "launch kernels and copy memory with the runtime's functions";
  let description = [{
    Turns `gpu.launch_func` into a call of `moert_launch`, with the kernel's
    parameters as an array of pointers; parameters that a kernel in the LLVM
    dialect does not use are dropped from both. In host code, `memref.copy`
    becomes a call of `moert_copy` and `memref.load` one of `moert_read`. Copies
    are between memrefs that are one block of memory (`moe-expand-copies`).
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def MoEDropFlagsPass : Pass<"moe-drop-flags"> {
  let summary = "make ops mean the same on every target";
  let description = [{
    Drops what allows results to differ from run to run of the compiler and from
    target to target, without obliging it to anything (determinism_s1 in
    docs/Spec.md): `fastmath` of float ops, and `nsw`, `nuw` and `exact` of
    integer ops, whose result would be poison where the promise does not hold.
    The rounding mode of `arith.truncf` is dropped, too, since
    `moe-check-entries` has refused all but the usual one.
  }];
}

def MoEExpandMathPass : Pass<"moe-expand-math"> {
  let summary = "expand float ops that targets would read differently";
  let description = [{
    - `math.fma` and `math.fpowi` of small floats are computed in f32 and rounded
      once; so are minima and maxima.
    - `math.sincos` and `math.clampf` become the ops they stand for.
    - `arith.maximumf`, `minimumf`, `maxnumf` and `minnumf` become the intrinsics
      for which -0 is below +0, on every target. To be run before
      `arith-expand`, which makes comparisons of them that do not know signs of
      zeros.

    Before:

    ```mlir
    func.func @larger(%a: f32, %b: f32) -> f32 {
      %0 = arith.maxnumf %a, %b : f32
      return %0 : f32
    }
    ```

    After:

    ```mlir
    func.func @larger(%a: f32, %b: f32) -> f32 {
      %0 = llvm.call_intrinsic "llvm.maximumnum"(%a, %b) : (f32, f32) -> f32
      return %0 : f32
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
}

def MoECallMathFunctionsPass
    : Pass<"moe-call-math-functions", "::mlir::ModuleOp"> {
  let summary = "call the math library for math ops";
  let description = [{
    Turns ops of f32 (docs/Math.md lists them) into calls of the library that is
    linked into the code of every target, so that all give the same bits. Host
    code calls the C library for those of f64, which are an error in kernels.
    Vectors are taken apart.

    Before:

    ```mlir
    module {
      func.func @f(%x: f32) -> f32 {
        %0 = math.sin %x : f32
        return %0 : f32
      }
    }
    ```

    After:

    ```mlir
    module {
      llvm.func @moe.math.sin(f32) -> f32
          attributes {memory_effects = #llvm.memory_effects<
              other = none, argMem = none, inaccessibleMem = none,
              errnoMem = none, targetMem0 = none, targetMem1 = none>,
            no_unwind, passthrough = [["moe-math", "sin"]], will_return}
      func.func @f(%x: f32) -> f32 {
        %0 = llvm.call @moe.math.sin(%x) : (f32) -> f32
        return %0 : f32
      }
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
}

def MoEExpandKernelMathPass
    : Pass<"moe-expand-kernel-math", "::mlir::ModuleOp"> {
  let summary = "turn math ops in kernels into instructions";
  let description = [{
    Square roots, rounding to integers, signs and counts of bits become the
    intrinsics that stand for instructions of the device. Floats are converted to
    i1 by way of i32. To be run after `moe-call-math-functions`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def MoERoundBF16InKernelsPass
    : Pass<"moe-round-bf16-in-kernels", "::mlir::ModuleOp"> {
  let summary = "round f32 to bf16 with the instructions of the device";
  let description = [{
    Inside `gpu.launch`: `arith.truncf` of f32 and of vectors with an even number
    of them becomes `cvt.rn.bf16x2.f32`, which every chip since sm_80 has, one
    instruction for two elements where integer arithmetic takes about fifteen.
    The bits are those of `arith.truncf`, except that a NaN loses its payload. To
    be run before `arith-expand`.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect",
                           "::mlir::vector::VectorDialect"];
}

def MoEAllocResultsPass : Pass<"moe-alloc-results", "::mlir::ModuleOp"> {
  let summary = "let callers give the memory of results";
  let description = [{
    An allocation that an entry returns becomes a `symm.alloc_result`, which asks
    the runtime for the memory of that result: the caller's, where it has given
    some. This needs a function with one `func.return`, that nothing in the
    module calls, and an allocation in the block of the return that is returned
    there and neither freed nor returned before. The runtime copies any other
    result to where the caller wants it; a remark says which, and why
    (`--remarks-filter=moe-alloc-results`).

    The pass also notes, as `moe.result_extents`, which dynamic extents of
    results are known before a call: `array<i64: a, d>` stands for extent `d` of
    argument `a`, an integer for itself, and `unit` for an extent that is static
    or that the call alone tells.

    To be run on memrefs, when no pass moves or frees allocations any more.

    Before:

    ```mlir
    module {
      func.func @f(%x: memref<?x4xf32>) -> memref<?x4xf32>
          attributes {moe.entry = (tensor<?x4xf32>) -> tensor<?x4xf32>} {
        %c0 = arith.constant 0 : index
        %t = memref.dim %x, %c0 : memref<?x4xf32>
        %out = memref.alloc(%t) : memref<?x4xf32>
        return %out : memref<?x4xf32>
      }
    }
    ```

    After:

    ```mlir
    module {
      func.func @f(%x: memref<?x4xf32>) -> memref<?x4xf32>
          attributes {moe.entry = (tensor<?x4xf32>) -> tensor<?x4xf32>,
                      moe.result_extents = [[array<i64: 0, 0>, unit]]} {
        %c0 = arith.constant 0 : index
        %t = memref.dim %x, %c0 : memref<?x4xf32>
        %out = symm.alloc_result 0(%t) : memref<?x4xf32>
        return %out : memref<?x4xf32>
      }
    }
    ```
  }];
  let dependentDialects = ["::mlir::symm::SymmDialect"];
  let statistics = [
    Statistic<"numInPlace", "num-in-place", "results written where callers want them">,
    Statistic<"numCopied", "num-copied", "results that are copied there">
  ];
}

#endif // MOE_MLIR_TARGET_TRANSFORMS_PASSES_TD
