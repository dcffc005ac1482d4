//===- Report.h - Memory and traffic of a module ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_DRIVER_REPORT_H
#define MOE_MLIR_TARGET_DRIVER_REPORT_H

#include "moe-mlir/Target/GPU/GPU.h"

#include "mlir/IR/BuiltinOps.h"
#include <optional>
#include <string>
#include <vector>

namespace mlir::moe {

/// What is known of a collective op before it runs.
struct CollectiveReport {
  std::string op;
  std::string location;
  /// Rows of the receive buffer (C); for a combine, rows of `y`.
  int64_t rows = 0;
  /// Bytes that move with one row: its data, scales, expert ids and weights.
  int64_t rowBytes = 0;
  /// Symmetric memory that the op uses, in place or as its own flags and
  /// counts. Ops that share a buffer each count it.
  int64_t symmetricBytes = 0;
  /// The function that it shares with the ops that are equal; empty when there
  /// are none.
  std::string function;
  /// Upper bound of the bytes of rows that cross between this rank and others;
  /// none when the number of rows is dynamic. What messages with padding move,
  /// whether or not all of it are rows.
  std::optional<int64_t> wireBytes;
  /// Bytes of what ranks tell each other about their rows, likewise; where
  /// ranks exchange messages.
  int64_t tableBytes = 0;
  /// Whether messages of rows have padding.
  bool isPadded = false;

  /// What `moe-plan` chose; for kernels only.
  struct Kernel {
    int64_t blocks, threads;
    std::string transfer;
    /// The one that `transfer` has.
    std::optional<int64_t> stages, team;
  };
  std::optional<Kernel> kernel;
};

/// The symmetric memory of an entry.
struct EntryReport {
  std::string name;
  /// Flags, counters, tables and symmetric results, which keep their contents
  /// from run to run. Entries count those that they share each for itself.
  int64_t persistentBytes = 0;
  /// Buffers of one run, as far as they reach in the workspace.
  int64_t temporaryBytes = 0;
  /// Whether no other entry uses the memory of these.
  bool hasOwnWorkspace = false;
};

struct CompileReport {
  std::vector<CollectiveReport> collectives;
  std::vector<EntryReport> entries;
  int64_t ranks = 0;
  /// Whether ranks exchange messages: then there is no symmetric memory.
  bool hasMessages = false;
  /// Symmetric workspace of a rank. Buffers that are not alive together share
  /// memory, so this may be less than the sum over all ops.
  int64_t workspaceBytes = 0;
  /// The part of it whose contents are kept from run to run.
  int64_t persistentBytes = 0;
  int64_t artifactBytes = 0;
  /// Of all kernels, also those that belong to no moe op; only when the
  /// assembler was found.
  SmallVector<KernelResources> kernels;

  /// Fills `collectives` but for symmetric bytes, from moe ops on memrefs.
  /// `ranksHaveMessages`: they are to become coll ops.
  void collectCollectives(ModuleOp module, bool ranksHaveMessages);
  /// Fills in symmetric bytes and `entries`, from the symm ops that these
  /// became.
  void collectSymmetricBytes(ModuleOp module);

  /// Fills in the bytes of messages, and of rows where they have padding, from
  /// the coll ops that these became.
  void collectMessageBytes(ModuleOp module);

  /// Fills `kernels` from a module with a GPU module in the LLVM dialect, if
  /// there is an assembler.
  LogicalResult collectKernels(ModuleOp module,
                               const GpuTargetOptions &options);

  void printTable(llvm::raw_ostream &os) const;
  void printJSON(llvm::raw_ostream &os) const;

private:
  /// `body` for every op of the lowering of each collective.
  void forEachCollective(
      ModuleOp module,
      llvm::function_ref<void(CollectiveReport &, Operation *)> body);
};

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_DRIVER_REPORT_H
