//===- RankSnapshot.h - what other hosts see of a rank ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_HOSTS_RANKSNAPSHOT_H
#define MOE_RUNTIME_LIB_HOSTS_RANKSNAPSHOT_H

#include "moe-runtime/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace moe::rt {

struct ControlMemory;

/// A copy of a rank's block without the past: of its group operations and
/// collectives, only the last one.
struct RankSnapshot {
  struct Error {
    uint64_t code = 0;
    std::string message, details;
  };

  uint64_t rank = 0;
  uint64_t generation = 0;
  uint64_t state = 0;
  uint64_t hasDied = 0;
  uint64_t isOrigin = 0; ///< of its host's error
  uint64_t groupOps = 0, groupOpsQueued = 0, groupOpsDone = 0;
  uint64_t groupOpsCompared = 0;
  uint64_t collectives = 0;
  uint64_t collectiveWord = 0;
  uint64_t pid = 0;
  std::string phase;
  Error error;

  /// The last group operation; of ordinal 0 where it could not be read.
  uint64_t opOrdinal = 0, opKind = 0, opHash = 0;
  uint64_t opCollectivesBefore = 0, opCollectivesAfter = 0;
  std::string opText;
  Error opError;

  /// The last collective, in the same way.
  uint64_t ordinal = 0, site = 0, artifact = 0, groupOp = 0;
  std::string op, location;

  /// Reads the block of a rank, which goes on meanwhile.
  static RankSnapshot read(ControlMemory &memory, int rank, bool hasDied);
  /// Writes it to the copy of the block, for ranks that read it meanwhile.
  void apply(ControlMemory &memory) const;

  std::string encode() const;
  /// None when the bytes are no snapshot of a rank of so many.
  static std::optional<RankSnapshot> decode(std::string_view bytes, int ranks);
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_HOSTS_RANKSNAPSHOT_H
