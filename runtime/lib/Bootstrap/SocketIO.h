//===- SocketIO.h - bounded reads and writes of Unix sockets ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_BOOTSTRAP_SOCKETIO_H
#define MOE_RUNTIME_LIB_BOOTSTRAP_SOCKETIO_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <cstdint>
#include <deque>

namespace moe::rt {

/// Largest number of descriptors the kernel takes in one message.
constexpr size_t maxFdsPerMessage = 253;

/// One sendmsg with descriptors, which does not block and raises no signal.
/// Returns what sendmsg returns.
ssize_t sendSome(int socket, const void *data, size_t bytes, const int *fds,
                 size_t numFds);

/// Receives what one recvmsg does, without blocking; received descriptors go to
/// `fds`. Returns what recvmsg returns, but 0 only when everything that was
/// sent before the end has been received.
ssize_t receiveSome(int socket, void *data, size_t bytes,
                    std::deque<UniqueFd> &fds);

/// Sends all, or fails at `deadlineNs`, which is moved by the time in which
/// this process did not run. `fds` go with the first byte.
Status sendAll(int socket, const void *data, size_t bytes, int64_t &deadlineNs,
               const int *fds = nullptr, size_t numFds = 0);

/// Receives exactly `bytes`, or fails at `deadlineNs` or when the other end
/// has closed.
Status receiveAll(int socket, void *data, size_t bytes, int64_t &deadlineNs,
                  std::deque<UniqueFd> &fds);

/// Milliseconds until `deadlineNs`, rounded up, at least 0.
int millisecondsUntil(int64_t deadlineNs);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_BOOTSTRAP_SOCKETIO_H
