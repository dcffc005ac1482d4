//===- Manifest.h - what an artifact says about itself ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MANIFEST_H
#define MOE_RUNTIME_MANIFEST_H

#include "moe-runtime/DType.h"
#include "moe-runtime/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace moe::rt {

/// The manifest of docs/Artifact.md.
struct Manifest {
  /// What is known of an extent before a call.
  struct Extent {
    int argument = -1;  ///< it is an extent of that argument, or -1
    int dimension = 0;  ///< which one
    int64_t value = -1; ///< itself, or -1
  };
  struct Entry {
    std::string name;
    std::string symbol;
    std::vector<TensorType> args;
    std::vector<TensorType> results;
    /// One per dimension of each result, or none for a result.
    std::vector<std::vector<Extent>> resultExtents;
  };
  struct Site {
    std::string op;
    std::string location;
  };
  /// How rows get from rank to rank.
  enum class Transport {
    Direct,  ///< generated code reads and writes memory of other ranks
    Messages ///< it asks the runtime for exchanges
  };

  std::string producer;
  std::string target;
  std::string cpu;
  std::string hash;
  int64_t ranks = 0;
  int64_t symmBytes = 0;
  Transport transport = Transport::Direct;
  std::vector<Entry> entries;
  std::vector<Site> sites;
  /// For GPUs: the oldest compute capability, 90 for "sm_90", or 0; and the
  /// texts that error records of kernels refer to.
  int gpuCapability = 0;
  std::vector<std::string> deviceStrings;

  /// Name of the backend that runs it: "host" or "cuda" for targets that
  /// begin so, else the target.
  std::string backendName() const;

  /// Whether all ranks together run its entries.
  bool communicates() const { return ranks != 0; }
  bool usesMessages() const {
    return communicates() && transport == Transport::Messages;
  }

  /// Reads and checks a manifest. Unknown keys are ignored. The ABI version is
  /// looked at first: of another version nothing else is understood.
  static Expected<Manifest> parse(std::string_view text);

  /// "'a', 'b' and 'c'".
  std::string listEntries() const;
};

/// The first thing in which two manifests differ, and what each has there:
/// "ranks (4 and 8)". Empty when they are equal.
std::string describeDifference(const std::string &mine,
                               const std::string &theirs);

/// Ok when this machine can run code for the x86-64 level `cpu`.
Status checkCpuLevel(const std::string &cpu);

} // namespace moe::rt

#endif // MOE_RUNTIME_MANIFEST_H
