//===- SocketIO.cpp - bounded reads and writes of Unix sockets ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SocketIO.h"

#include "moe-runtime/WaitClock.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>

using namespace moe::rt;

ssize_t moe::rt::sendSome(int socket, const void *data, size_t bytes,
                          const int *fds, size_t numFds) {
  iovec vector{const_cast<void *>(data), bytes};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * maxFdsPerMessage)];
  if (numFds) {
    std::memset(control, 0, sizeof(control));
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * numFds);
    cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * numFds);
    std::memcpy(CMSG_DATA(header), fds, sizeof(int) * numFds);
  }
  ssize_t sent;
  do
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t moe::rt::receiveSome(int socket, void *data, size_t bytes,
                             std::deque<UniqueFd> &fds) {
  iovec vector{data, bytes};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * maxFdsPerMessage)];
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  // A sequenced-packet socket of Linux may report its end before the last
  // packet: when that came between its looks for a packet and for the end, and,
  // as a reset, when the other side left without reading all it was sent. The
  // second answer is true.
  ssize_t received;
  bool hasSeenEnd = false;
  for (;;) {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received < 0 && errno == EINTR)
      continue;
    bool isEnd = received == 0 || (received < 0 && errno == ECONNRESET);
    if (!isEnd || hasSeenEnd)
      break;
    hasSeenEnd = true;
    message.msg_controllen = sizeof(control);
  }
  if (received < 0)
    return received;
  for (cmsghdr *header = CMSG_FIRSTHDR(&message); header;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
      continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  return received;
}

int moe::rt::millisecondsUntil(int64_t deadlineNs) {
  int64_t left = (deadlineNs - nowNs() + 999999) / 1000000;
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

/// Waits for `events`. False at the deadline.
static bool waitFor(int socket, short events, int64_t &deadlineNs) {
  for (;;) {
    pollfd entry{socket, events, 0};
    int64_t begin = nowNs();
    int ready = poll(
        &entry, 1, std::min(WaitClock::sliceMs, millisecondsUntil(deadlineNs)));
    // The same rule as that of WaitClock, which says why.
    deadlineNs +=
        std::max<int64_t>(0, nowNs() - begin - WaitClock::mostPerLookNs);
    if (ready > 0)
      return true;
    if (ready == 0 && nowNs() >= deadlineNs)
      return false;
    if (ready < 0 && errno != EINTR)
      return true; // the next call on the socket reports it
  }
}

Status moe::rt::sendAll(int socket, const void *data, size_t bytes,
                        int64_t &deadlineNs, const int *fds, size_t numFds) {
  const char *next = static_cast<const char *>(data);
  while (bytes) {
    ssize_t sent = sendSome(socket, next, bytes, fds, numFds);
    if (sent > 0) {
      next += sent;
      bytes -= sent;
      numFds = 0;
      continue;
    }
    if (sent < 0 && errno != EAGAIN)
      return makeOsError(MOERT_PEER_FAILED, errno, "the connection broke");
    if (!waitFor(socket, POLLOUT, deadlineNs))
      return Status(MOERT_TIMEOUT, "timed out while sending");
  }
  return Status::ok();
}

Status moe::rt::receiveAll(int socket, void *data, size_t bytes,
                           int64_t &deadlineNs, std::deque<UniqueFd> &fds) {
  char *next = static_cast<char *>(data);
  while (bytes) {
    ssize_t received = receiveSome(socket, next, bytes, fds);
    if (received > 0) {
      next += received;
      bytes -= received;
      continue;
    }
    if (received == 0)
      return Status(MOERT_PEER_FAILED, "the other end closed the connection");
    if (errno != EAGAIN)
      return makeOsError(MOERT_PEER_FAILED, errno, "the connection broke");
    if (!waitFor(socket, POLLIN, deadlineNs))
      return Status(MOERT_TIMEOUT, "timed out while receiving");
  }
  return Status::ok();
}
