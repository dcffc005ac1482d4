//===- LinkConnection.cpp - a connection between hosts --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinkConnection.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>

using namespace moe::rt;

void LinkConnection::queue(LinkFrame::Kind kind, std::string_view payload) {
  LinkFrame frame{LinkFrame::magicValue, kind, uint32_t(payload.size())};
  output.append(reinterpret_cast<const char *>(&frame), sizeof(frame));
  output.append(payload);
}

Status LinkConnection::flush() {
  size_t done = 0;
  Status status;
  while (done < output.size()) {
    ssize_t sent = send(fd(), output.data() + done, output.size() - done,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      done += size_t(sent);
      continue;
    }
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0 && errno != EAGAIN)
      status = makeOsError(MOERT_PEER_FAILED, errno, "broke");
    break;
  }
  output.erase(0, done);
  return status;
}

Status LinkConnection::receive(
    const std::function<void(LinkFrame::Kind, std::string_view)> &onFrame) {
  Status status;
  // One that always has more is no reason to keep others waiting.
  for (int round = 0; round < 64; ++round) {
    char buffer[16384];
    ssize_t received = recv(fd(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (received > 0) {
      input.append(buffer, size_t(received));
      silence = WaitClock();
      continue;
    }
    if (received < 0 && errno == EINTR)
      continue;
    if (received == 0)
      status = Status(MOERT_PEER_FAILED, "was closed without a goodbye");
    else if (errno != EAGAIN)
      status = makeOsError(MOERT_PEER_FAILED, errno, "broke");
    break;
  }
  size_t at = 0;
  while (isOpen() && input.size() - at >= sizeof(LinkFrame)) {
    LinkFrame frame;
    std::memcpy(&frame, input.data() + at, sizeof(frame));
    if (frame.magic != LinkFrame::magicValue ||
        frame.bytes > LinkFrame::mostBytes) {
      status = Status(MOERT_INTERNAL, "carries nonsense");
      break;
    }
    if (input.size() - at - sizeof(frame) < frame.bytes)
      break;
    onFrame(static_cast<LinkFrame::Kind>(frame.kind),
            std::string_view(input).substr(at + sizeof(frame), frame.bytes));
    at += sizeof(frame) + frame.bytes;
  }
  input.erase(0, at);
  return status;
}

void LinkConnection::endOutput() { (void)shutdown(fd(), SHUT_WR); }

void LinkConnection::close() {
  if (isOpen())
    (void)shutdown(fd(), SHUT_RDWR);
  socket.reset();
  input.clear();
  output.clear();
}
