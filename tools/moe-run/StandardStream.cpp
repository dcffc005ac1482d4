//===- StandardStream.cpp - writing without being blocked -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandardStream.h"

#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

/// How long an error waits for somebody to read it.
static constexpr double errorSeconds = 3;

StandardStream::StandardStream(int number) : number(number) {
  struct stat info;
  int flags = fcntl(number, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(number, &info) != 0)
    return;
  bool isTerminal = isatty(number) == 1;
  mayBlock = S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || isTerminal;
  // Sockets cannot be opened, and /dev/tty, /dev/ptmx and the like (major
  // number 5) would be other terminals than the one that is open.
  if (!S_ISFIFO(info.st_mode) && !(isTerminal && major(info.st_rdev) != 5))
    return;
  // O_NONBLOCK belongs to what others have open as well. So the pipe is opened
  // once more; where that is forbidden, poll() alone keeps from being blocked
  // for long.
  own = UniqueFd(open(format("/proc/self/fd/%d", number).c_str(),
                      O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

Status StandardStream::write(std::string_view &text) {
  while (!text.empty()) {
    pollfd entry{fd(), POLLOUT, 0};
    // Files and other devices may never say that they have room.
    if (mayBlock && poll(&entry, 1, 0) <= 0)
      return Status::ok();
    // A pipe with room takes as much at once.
    ssize_t written =
        ::write(fd(), text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (written < 0 && errno == EAGAIN)
      return Status::ok();
    if (written < 0 && errno != EINTR)
      return makeOsError(MOERT_IO, errno, "cannot write to standard %s",
                         number == STDOUT_FILENO ? "output" : "error");
    text.remove_prefix(std::max<ssize_t>(written, 0));
  }
  return Status::ok();
}

Status moe::run::print(const std::string &text) {
  StandardStream stream(STDOUT_FILENO);
  std::string_view rest = text;
  for (;;) {
    Status status = stream.write(rest);
    if (!status.isOk() || rest.empty())
      return status;
    pollfd entry{stream.fd(), POLLOUT, 0};
    (void)poll(&entry, 1, -1);
  }
}

/// Gives up after a few seconds.
static void writeToStandardError(std::string_view rest) {
  StandardStream stream(STDERR_FILENO);
  for (Deadline deadline(errorSeconds);;) {
    Status status = stream.write(rest);
    if (!status.isOk() || rest.empty() || deadline.isOver())
      return;
    pollfd entry{stream.fd(), POLLOUT, 0};
    (void)poll(&entry, 1, deadline.sliceMs());
  }
}

void moe::run::printError(const std::string &message) {
  writeToStandardError("moe-run: error: " + message + "\n");
}

void moe::run::printDiagnostics(std::string_view text) {
  if (!text.empty())
    writeToStandardError(text);
}
