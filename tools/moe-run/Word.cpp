//===- Word.cpp - the right to speak for a job ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Word.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

static constexpr const char *fileName = "moe-run-word";

Expected<UniqueFd> moe::run::makeWord() {
  UniqueFd word(memfd_create(fileName, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!word.isValid())
    return makeOsError(MOERT_IO, errno, "cannot make a memory file");
  return word;
}

UniqueFd moe::run::openWordOf(pid_t process) {
  std::string folder = format("/proc/%d/fd", int(process));
  std::unique_ptr<DIR, int (*)(DIR *)> entries(opendir(folder.c_str()),
                                               closedir);
  std::string wanted = format("/memfd:%s (deleted)", fileName);
  while (dirent *entry = entries ? readdir(entries.get()) : nullptr) {
    char target[64];
    ssize_t bytes =
        readlinkat(dirfd(entries.get()), entry->d_name, target, sizeof(target));
    if (bytes > 0 && wanted == std::string(target, bytes))
      return UniqueFd(
          openat(dirfd(entries.get()), entry->d_name, O_RDWR | O_CLOEXEC));
  }
  return UniqueFd();
}

bool moe::run::takeWord(int word) {
  // The kernel lets one process add this seal, and refuses all others.
  return fcntl(word, F_ADD_SEALS, F_SEAL_SEAL) == 0;
}
