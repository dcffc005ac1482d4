//===- FileSizeLimit.cpp - files that may grow too large ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/FileSizeLimit.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <sys/resource.h>
#include <unistd.h>

using namespace moe::rt;

static sigset_t onlyFileSize() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGXFSZ);
  return set;
}

FileSizeSignalBlock::FileSizeSignalBlock() {
  sigset_t pending, mine = onlyFileSize();
  // One that is pending already is somebody else's.
  if (sigpending(&pending) != 0 || sigismember(&pending, SIGXFSZ))
    return;
  hasBlocked = pthread_sigmask(SIG_BLOCK, &mine, &before) == 0 &&
               !sigismember(&before, SIGXFSZ);
}

FileSizeSignalBlock::~FileSizeSignalBlock() {
  if (!hasBlocked)
    return;
  int error = errno;
  // The kernel sends the signal to the thread that made the call, so taking it
  // here takes it from nobody else.
  sigset_t mine = onlyFileSize();
  timespec now{};
  while (sigtimedwait(&mine, nullptr, &now) < 0 && errno == EINTR)
    ;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
}

bool moe::rt::writeExactly(int fd, const void *data, size_t bytes) {
  const char *next = static_cast<const char *>(data);
  while (bytes) {
    ssize_t put = ::write(fd, next, std::min(bytes, size_t(1) << 30));
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return false;
    next += put;
    bytes -= put;
  }
  return true;
}

Status moe::rt::makeFileError(moert_code code, int error,
                              const std::string &what) {
  rlimit limit{};
  if (error != EFBIG || getrlimit(RLIMIT_FSIZE, &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY)
    return makeOsError(code, error, "%s", what.c_str());
  return makeError(code,
                   "%s: files of this process may have %llu bytes at most; "
                   "raise that limit (ulimit -f)",
                   what.c_str(), (unsigned long long)limit.rlim_cur);
}
