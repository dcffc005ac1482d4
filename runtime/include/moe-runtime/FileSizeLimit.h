//===- FileSizeLimit.h - files that may grow too large ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_FILESIZELIMIT_H
#define MOE_RUNTIME_FILESIZELIMIT_H

#include "moe-runtime/Status.h"

#include <csignal>

namespace moe::rt {

/// A file that outgrows the process's limit (`ulimit -f`) raises SIGXFSZ, which
/// ends the process by default. While an object of this class lives, the signal
/// does not reach the calling thread, whose call fails with EFBIG instead. What
/// the process has chosen to do with the signal stays as it is.
class FileSizeSignalBlock {
public:
  FileSizeSignalBlock();
  ~FileSizeSignalBlock();
  FileSizeSignalBlock(const FileSizeSignalBlock &) = delete;

private:
  sigset_t before;
  bool hasBlocked = false; ///< the signal was neither blocked nor pending
};

/// Writes all of it, in as many steps as that takes. False with errno.
bool writeExactly(int fd, const void *data, size_t bytes);

/// makeOsError, which names the limit where `error` is EFBIG.
Status makeFileError(moert_code code, int error, const std::string &what);

} // namespace moe::rt

#endif // MOE_RUNTIME_FILESIZELIMIT_H
