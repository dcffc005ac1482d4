//===- Signals.cpp - signals as events ------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Signals.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

Status Signals::block() {
  sigset_t handled;
  sigemptyset(&handled);
  sigaddset(&handled, SIGCHLD);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    // A signal that is blocked would come although it is ignored.
    struct sigaction action;
    if (sigaction(number, nullptr, &action) == 0 &&
        action.sa_handler != SIG_IGN)
      sigaddset(&handled, number);
  }
  // Where SIGCHLD is ignored, children leave no status.
  std::signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_BLOCK, &handled, &mask);
  descriptor = UniqueFd(signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor.isValid())
    return makeOsError(MOERT_IO, errno, "cannot watch signals");
  return Status::ok();
}

int Signals::next() const {
  signalfd_siginfo info;
  while (read(fd(), &info, sizeof(info)) == sizeof(info))
    if (info.ssi_signo != SIGCHLD)
      return static_cast<int>(info.ssi_signo);
  return 0;
}

int Signals::waitForNext(int milliseconds) const {
  pollfd entry{fd(), POLLIN, 0};
  (void)poll(&entry, 1, milliseconds);
  return next();
}

void moe::run::prepareProcess() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  for (int fd = 0; fd <= 2; ++fd)
    // Opened for the other direction, so that using it is an error.
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}
