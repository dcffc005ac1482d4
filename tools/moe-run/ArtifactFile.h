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
#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <string>

namespace moe::run {

struct ArtifactFile {
  std::string path;        ///< to open; may contain "{rank}"
  std::string displayName; ///< for messages
  rt::UniqueFd fd;         ///< of a compiled file, which has no name any more
};

/// The folder this program is in, with a slash at its end.
std::string programFolder();

/// Compiles a .mlir file to a temporary artifact that is deleted at once: the
/// ranks open it through its descriptor, so nothing can be left behind. Other
/// files are taken as they are. The signals of `Supervisor` must be blocked.
/// Also settles `options.target`.
rt::Expected<ArtifactFile> prepareArtifact(Options &options);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_ARTIFACTFILE_H
