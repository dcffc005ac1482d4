//===- MessageSocket.cpp - messages between processes of a job ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/MessageSocket.h"

#include "SocketIO.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>

using namespace moe::rt;

bool MessageSocket::send(const std::string &text, const std::vector<int> &fds) {
  if (!isOpen() || text.empty() || text.size() > mostBytes)
    return false;
  ssize_t sent =
      sendSome(socket.get(), text.data(), text.size(), fds.data(), fds.size());
  return sent == static_cast<ssize_t>(text.size());
}

MessageSocket::Received MessageSocket::receive(std::string &text,
                                               std::deque<UniqueFd> &fds) {
  if (!isOpen())
    return Closed;
  std::vector<char> buffer(mostBytes);
  ssize_t bytes = receiveSome(socket.get(), buffer.data(), buffer.size(), fds);
  if (bytes < 0 && errno == EAGAIN)
    return Nothing;
  if (bytes <= 0)
    return Closed;
  text.assign(buffer.data(), bytes);
  return Message;
}

static ucred credentials(int socket) {
  ucred peer{-1, uid_t(-1), gid_t(-1)};
  socklen_t bytes = sizeof(peer);
  (void)getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
  return peer;
}

uid_t MessageSocket::peerUser() const { return credentials(fd()).uid; }

pid_t MessageSocket::peerProcess() const { return credentials(fd()).pid; }

bool MessageSocket::isOfSameUser() const {
  return isOpen() && peerUser() == geteuid();
}

Expected<Place> moe::rt::takeOrVisitPlace(const std::string &name) {
  Place place;
  UniqueFd socket(
      ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.isValid())
    return makeOsError(MOERT_IO, errno, "cannot open a Unix socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // A NUL comes first: a name without a file.
  size_t length = std::min(name.size(), sizeof(address.sun_path) - 1);
  std::memcpy(address.sun_path + 1, name.data(), length);
  auto *generic = reinterpret_cast<sockaddr *>(&address);
  socklen_t bytes =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  if (bind(socket.get(), generic, bytes) == 0) {
    if (listen(socket.get(), SOMAXCONN) != 0)
      return makeOsError(MOERT_IO, errno, "cannot listen at a Unix socket");
    place.listener = std::move(socket);
    return place;
  }
  if (errno != EADDRINUSE)
    return makeOsError(MOERT_IO, errno, "cannot bind a Unix socket");
  if (connect(socket.get(), generic, bytes) != 0) {
    if (errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR)
      return place;
    return makeOsError(MOERT_IO, errno, "cannot connect to a Unix socket");
  }
  MessageSocket connection(std::move(socket));
  if (!connection.isOfSameUser())
    return makeError(MOERT_IO,
                     "a process of user %u has taken the place at which the "
                     "processes of this job meet (abstract socket %s)",
                     unsigned(connection.peerUser()), name.c_str());
  place.connection = std::move(connection);
  return place;
}

MessageSocket moe::rt::acceptVisitor(int listener) {
  // A bound, since strangers may come faster than they are turned away.
  for (int i = 0; i < 64; ++i) {
    UniqueFd accepted(
        accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!accepted.isValid()) {
      if (errno == EINTR || errno == ECONNABORTED)
        continue;
      return MessageSocket();
    }
    MessageSocket visitor(std::move(accepted));
    if (visitor.isOfSameUser())
      return visitor;
  }
  return MessageSocket();
}
