//===- MemoryFile.cpp - nameless files of shared memory -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/MemoryFile.h"

#include "moe-runtime/FileSizeLimit.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>

using namespace moe::rt;

/// Gives the file its size, and memory for all of it: what is merely promised
/// could be missing when it is first touched, and then the process that touches
/// it is killed. False with errno set.
static bool reserve(int fd, size_t bytes) {
  // A signal interrupts the call, which then gives back what it got: so one
  // call at a time has little to do.
  constexpr size_t step = size_t(32) << 20;
  for (size_t at = 0; at < bytes;) {
    size_t part = std::min(step, bytes - at);
    if (fallocate(fd, 0, static_cast<off_t>(at), static_cast<off_t>(part)) == 0)
      at += part;
    else if (errno != EINTR)
      return false;
  }
  return true;
}

Expected<UniqueFd> moe::rt::createMemoryFile(size_t bytes) {
  UniqueFd fd(memfd_create("moe-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.isValid())
    return makeOsError(MOERT_OUT_OF_MEMORY, errno,
                       "cannot create a memory file");
  FileSizeSignalBlock block;
  if (!reserve(fd.get(), bytes))
    return makeFileError(
        MOERT_OUT_OF_MEMORY, errno,
        format("cannot reserve a memory file of %zu bytes", bytes));
  // A file that cannot shrink cannot fault the ranks that have it mapped.
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (fcntl(fd.get(), F_ADD_SEALS, seals) != 0)
    return makeOsError(MOERT_OUT_OF_MEMORY, errno, "cannot seal a memory file");
  return fd;
}
