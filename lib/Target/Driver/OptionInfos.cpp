//===- OptionInfos.cpp - Names and descriptions of options ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Options.h"

using namespace mlir;
using namespace mlir::moe;

ArrayRef<OptionInfo> moe::getOptionInfos() {
  static constexpr OptionInfo infos[] = {
      {"target",
       "What to compile for: host (the default), cuda, or nccl, which is "
       "cuda with transport messages; the latter two with an "
       "optional chip (cuda:sm_80; the default is sm_90)"},
      {"ptx-version", "Version of PTX times ten, which the driver must know "
                      "(default: 80, or the first that knows the chip)"},
      {"blocks",
       "Blocks per kernel, at most (target cuda; default: 0, chosen)"},
      {"threads", "Threads per block (target cuda; default: 0, chosen)"},
      {"transfer", "How kernels move rows: auto (the default), stores or bulk "
                   "(target cuda)"},
      {"stages",
       "Rows in flight with bulk copies (target cuda; default: 0, chosen)"},
      {"team", "Subgroups of 32 threads that share the row of one token with "
               "stores; alltoallv: pieces of a row (target cuda; default: 0, "
               "chosen)"},
      {"kernels",
       "Where kernels run (for tests): device, where the target has one (the "
       "default), or fibers of a CPU (target host; needs libmoe_fibers.so when "
       "it runs)",
       "place", "", /*isHidden=*/true},
      {"gpu-format", "Kernels in the artifact: ptx (the default), or cubin, "
                     "which needs ptxas of the CUDA toolkit (target cuda)"},
      {"ptxas", "Path of ptxas, instead of that in PATH or CUDA_HOME", "file"},
      {"transport",
       "How ranks exchange rows: direct (the default), through "
       "memory that they "
       "share, or messages, which also reach ranks of other hosts"},
      {"schedule",
       "How long messages are: auto (the default), exact, as long as their "
       "rows, "
       "or padded, with room for pair-capacity rows (transport messages)"},
      {"pair-capacity",
       "Rows from a rank to another one, at most (schedule padded; default: 0, "
       "as many as there can be)",
       "rows"},
      {"emit", "What to put out"},
      {"cpu", "x86-64 level to compile for: x86-64, x86-64-v2, x86-64-v3 (the "
              "default), x86-64-v4 or native, the highest of this machine"},
      {"opt-level", "Optimization level: 0 to 3 (the default)"},
      {"combine-algorithm",
       "How combines move rows: auto (the default), pull or push"},
      {"dispatch-algorithm",
       "Who makes the rows of an expert_major dispatch: auto (the default), "
       "direct, the rank that sends them, or expand, the rank that has the "
       "experts"},
      {"report",
       "Print rows, symmetric bytes, an upper bound of the bytes moved between "
       "ranks, and the kernel of each collective op; with ptxas also the "
       "registers of kernels: table (the default), json or none",
       "format", "table"},
      {"remarks",
       "Print the remarks of the compiler's passes whose category matches a "
       "regular expression (default: all)",
       "regex", ".*"},
  };
  return infos;
}

ArrayRef<StageInfo> moe::getStageInfos() {
  static constexpr StageInfo infos[] = {
      {Stage::Symm, "symm", "the one-sided protocol: symm, scf, memref, arith"},
      {Stage::Coll, "coll",
       "the protocol of messages: coll, scf, memref, arith (transport "
       "messages)"},
      {Stage::MLIR, "mlir", "the LLVM dialect of MLIR"},
      {Stage::LLVM, "llvm", "optimized LLVM IR of host code"},
      {Stage::PTX, "ptx", "the kernels (target cuda)"},
      {Stage::Cubin, "cubin",
       "the kernels, assembled (target cuda; needs ptxas)"},
      {Stage::Object, "obj", "an object file"},
      {Stage::SharedObject, "so", "the artifact (the default)"},
  };
  return infos;
}
