//===- Pipelines.h - Pipelines from moe to a target -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_PIPELINES_PIPELINES_H
#define MOE_MLIR_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassOptions.h"

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace mlir::moe {

/// What the pipelines of all targets are told.
struct TargetPipelineOptions : public virtual ::mlir::detail::PassOptions {
  Option<std::string> combineAlgorithm{
      *this, "combine-algorithm",
      llvm::cl::desc("How combines move rows: auto, pull or push"),
      llvm::cl::init("auto")};
  Option<std::string> dispatchAlgorithm{
      *this, "dispatch-algorithm",
      llvm::cl::desc("Who makes the rows of an expert_major dispatch: auto, "
                     "direct or expand"),
      llvm::cl::init("auto")};
  Option<std::string> transport{
      *this, "transport",
      llvm::cl::desc("How ranks exchange rows: direct, into each other's "
                     "memory, or messages"),
      llvm::cl::init("direct")};
  Option<std::string> schedule{
      *this, "schedule",
      llvm::cl::desc("With messages, how long they are: auto, exact or padded"),
      llvm::cl::init("auto")};
  Option<int64_t> pairCapacity{
      *this, "pair-capacity",
      llvm::cl::desc(
          "With schedule=padded, rows from a rank to another one, at "
          "most; 0 for as many as there can be"),
      llvm::cl::init(0)};
  Option<std::string> cpu{
      *this, "cpu",
      llvm::cl::desc("x86-64 level the host code is compiled for: x86-64, "
                     "x86-64-v2, x86-64-v3 or x86-64-v4"),
      llvm::cl::init("x86-64-v3")};
  Option<unsigned> optLevel{
      *this, "opt-level",
      llvm::cl::desc("Optimization level the code is compiled with"),
      llvm::cl::init(3)};
};

struct MoEToHostOptions : public PassPipelineOptions<MoEToHostOptions>,
                          public TargetPipelineOptions {};

struct MoEToCUDAOptions : public PassPipelineOptions<MoEToCUDAOptions>,
                          public TargetPipelineOptions {
  Option<std::string> chip{*this, "chip",
                           llvm::cl::desc("Compute capability of the device"),
                           llvm::cl::init("sm_90")};
  Option<int64_t> blocks{
      *this, "blocks",
      llvm::cl::desc("Blocks per kernel, at most; 0 to choose"),
      llvm::cl::init(0)};
  Option<int64_t> threads{*this, "threads",
                          llvm::cl::desc("Threads per block; 0 to choose"),
                          llvm::cl::init(0)};
  Option<std::string> transfer{
      *this, "transfer",
      llvm::cl::desc("How kernels move rows: auto, stores or bulk"),
      llvm::cl::init("auto")};
  Option<int64_t> stages{
      *this, "stages",
      llvm::cl::desc("Rows in flight with bulk copies; 0 to choose"),
      llvm::cl::init(0)};
  Option<int64_t> team{
      *this, "team",
      llvm::cl::desc("Subgroups that move one token together with stores "
                     "(alltoallv: pieces of a row); 0 to choose"),
      llvm::cl::init(0)};
  Option<std::string> gpuFormat{
      *this, "gpu-format",
      llvm::cl::desc("What the artifact holds: ptx, or cubin, which needs the "
                     "assembler of the CUDA toolkit"),
      llvm::cl::init("ptx")};
  Option<std::string> ptxas{
      *this, "ptxas",
      llvm::cl::desc("Path of the assembler, instead of that in PATH or "
                     "CUDA_HOME"),
      llvm::cl::init("")};
  Option<unsigned> ptxVersion{
      *this, "ptx-version",
      llvm::cl::desc("Version of PTX times ten, which older drivers do not "
                     "load; 0 for 8.0, or the first that knows the chip"),
      llvm::cl::init(0)};
};

/// For all targets: arithmetic on 16- and 8-bit floats in f32, rounded after
/// each op, so that every target computes the same bits (but for those of
/// NaNs); conversions as integer ops, or by instructions of the device in
/// kernels.
void buildSmallFloatsPipeline(OpPassManager &pm, bool hasKernels = false);

/// Last part of all pipelines: host code without structured loops to the LLVM
/// dialect, and the interface of the artifact. `target`, `cpu`, `optLevel` and
/// `transport` go into the manifest.
void buildLLVMToArtifactPipeline(OpPassManager &pm, StringRef target,
                                 StringRef cpu, unsigned optLevel,
                                 StringRef transport = "direct");

/// First part of `moe-to-host`: from tensors to moe ops on memrefs, planned,
/// with their buffers in symmetric memory unless ranks exchange messages.
void buildMoEBufferizationPipeline(OpPassManager &pm,
                                   const MoEToHostOptions &options);
/// The same for `moe-to-cuda`.
void buildMoEBufferizationPipeline(OpPassManager &pm,
                                   const MoEToCUDAOptions &options);

/// Second part: from there to the protocol that the transport takes, the
/// one-sided one of `symm`, with the workspace laid out, or the messages of
/// `coll`.
void buildMoEToProtocolPipeline(OpPassManager &pm,
                                const MoEToHostOptions &options);

/// Third part: from there to the LLVM dialect with the artifact's interface.
void buildSymmToHostPipeline(OpPassManager &pm,
                             const MoEToHostOptions &options);

/// All three: what `moe-opt --moe-to-host` runs.
void buildMoEToHostPipeline(OpPassManager &pm, const MoEToHostOptions &options);

/// The parts of `moe-to-cuda` after the first.
/// Second part: to kernels of `symm` ops, with the workspace laid out.
void buildMoEToSymmKernelsPipeline(OpPassManager &pm,
                                   const MoEToCUDAOptions &options);

/// Third part: to kernels of the LLVM dialect, in one GPU module.
void buildSymmToNVVMPipeline(OpPassManager &pm,
                             const MoEToCUDAOptions &options);

/// Fourth part: kernels as PTX or a cubin, host code as the LLVM dialect with
/// the artifact's interface.
void buildNVVMToArtifactPipeline(OpPassManager &pm,
                                 const MoEToCUDAOptions &options);

/// For tests, instead of the third and fourth part: kernels as functions that
/// fibers on a CPU execute (`moe-kernels-to-fibers`), then as for the host.
void buildSymmKernelsToHostPipeline(OpPassManager &pm,
                                    const MoEToHostOptions &options);

/// All of it: what `moe-opt --moe-to-cuda` runs.
void buildMoEToCUDAPipeline(OpPassManager &pm, const MoEToCUDAOptions &options);

/// Registers the pipelines and the passes that exist for them.
void registerPipelines();

} // namespace mlir::moe

#endif // MOE_MLIR_PIPELINES_PIPELINES_H
