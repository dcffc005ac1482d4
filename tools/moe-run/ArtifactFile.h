//===- ArtifactFile.h - the file to run, compiled if need be ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_ARTIFACTFILE_H
#define MOE_TOOLS_MOERUN_ARTIFACTFILE_H

#include "Options.h"
#include "Signals.h"
#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <cstdint>
#include <string>

namespace moe::run {

/// What moe-run has to know of an artifact before there are ranks.
struct ArtifactFacts {
  std::string backend; ///< "host" or "cuda"
  int64_t ranks = 0;   ///< it is for; 0 for any number
};

struct ArtifactFile {
  std::string path;        ///< to open; may contain "{rank}"
  std::string displayName; ///< for messages
  rt::UniqueFd fd;         ///< of a compiled file, which has no name any more
  std::string diagnostics; ///< that the compiler gave without an error
  /// What is wrong with a file will be said where it is loaded.
  rt::Expected<ArtifactFacts> facts = ArtifactFacts();
};

/// The folder this program is in, with a slash at its end.
std::string programFolder();

/// Compiles a .mlir file to a temporary artifact that is deleted at once: the
/// ranks open it through its descriptor, so nothing can be left behind. Other
/// files are taken as they are. Settles `options.target`, and looks into the
/// artifact in a process of its own, since constructors of a shared object may
/// do anything. `interruptedBy` becomes a signal that came meanwhile.
rt::Expected<ArtifactFile>
prepareArtifact(Options &options, const Signals &signals, int &interruptedBy);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_ARTIFACTFILE_H
