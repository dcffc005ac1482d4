//===- MemoryFile.cpp - nameless files of shared memory -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/MemoryFile.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>

using namespace moe::rt;

Expected<UniqueFd> moe::rt::createMemoryFile(size_t bytes) {
  UniqueFd fd(memfd_create("moe-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.isValid())
    return makeOsError(MOERT_OUT_OF_MEMORY, errno,
                       "cannot create a memory file");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    return makeOsError(MOERT_OUT_OF_MEMORY, errno,
                       "cannot size a memory file to %zu bytes", bytes);
  // A file that cannot shrink cannot fault the ranks that have it mapped.
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (fcntl(fd.get(), F_ADD_SEALS, seals) != 0)
    return makeOsError(MOERT_OUT_OF_MEMORY, errno, "cannot seal a memory file");
  return fd;
}
