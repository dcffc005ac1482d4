//===- FdExchange.cpp - descriptors over abstract sockets -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SocketIO.h"
#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/Timings.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace moe::rt;

namespace {
/// What a rank tells the others: where it listens, and the secret by which it
/// knows them. Abstract names have no permissions of their own.
struct Invitation {
  sockaddr_un address;
  socklen_t addressBytes;
  unsigned char secret[16];
  int32_t hasFd;
  int32_t isReady;
};

struct Greeting {
  unsigned char secret[16];
  int32_t rank;
};
} // namespace

/// A listening socket under a name the kernel picks.
static Status listenAnywhere(int backlog, UniqueFd &listener,
                             Invitation &invitation) {
  listener =
      UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un any{};
  any.sun_family = AF_UNIX;
  invitation.addressBytes = sizeof(invitation.address);
  auto *address = reinterpret_cast<sockaddr *>(&invitation.address);
  if (!listener.isValid() ||
      bind(listener.get(), reinterpret_cast<sockaddr *>(&any),
           sizeof(sa_family_t)) != 0 ||
      listen(listener.get(), backlog) != 0 ||
      getsockname(listener.get(), address, &invitation.addressBytes) != 0 ||
      getrandom(invitation.secret, sizeof(invitation.secret), 0) !=
          sizeof(invitation.secret))
    return makeOsError(MOERT_IO, errno, "cannot open a Unix socket");
  invitation.isReady = 1;
  return Status::ok();
}

/// Connects to a peer and leaves the descriptor in the socket's buffer.
static Status sendTo(const Invitation &peer, int rank, int fd,
                     UniqueFd &connection, int64_t deadline) {
  connection = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connection.isValid() ||
      connect(connection.get(),
              reinterpret_cast<const sockaddr *>(&peer.address),
              peer.addressBytes) != 0)
    return makeOsError(MOERT_IO, errno, "cannot connect to a Unix socket");
  Greeting greeting{};
  std::memcpy(greeting.secret, peer.secret, sizeof(greeting.secret));
  greeting.rank = rank;
  return sendAll(connection.get(), &greeting, sizeof(greeting), deadline, &fd,
                 1);
}

/// Accepts one connection and files its descriptor. Strangers are ignored.
static Status acceptOne(int listener, const Invitation &mine,
                        const std::vector<Invitation> &all,
                        std::vector<UniqueFd> &out, int64_t deadline) {
  pollfd entry{listener, POLLIN, 0};
  if (poll(&entry, 1, millisecondsUntil(deadline)) == 0) {
    std::vector<int> missing;
    for (size_t r = 0; r < all.size(); ++r)
      if (all[r].hasFd && !out[r].isValid())
        missing.push_back(static_cast<int>(r));
    return makeError(MOERT_TIMEOUT, "%s passed no descriptor in time",
                     listRanks(missing).c_str());
  }
  UniqueFd connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.isValid())
    return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED
               ? Status::ok()
               : makeOsError(MOERT_IO, errno, "cannot accept a connection");
  Greeting greeting{};
  std::deque<UniqueFd> fds;
  Status status =
      receiveAll(connection.get(), &greeting, sizeof(greeting), deadline, fds);
  bool isPeer =
      status.isOk() && greeting.rank >= 0 &&
      greeting.rank < static_cast<int>(all.size()) &&
      std::memcmp(greeting.secret, mine.secret, sizeof(mine.secret)) == 0;
  if (!isPeer)
    return Status::ok();
  if (fds.empty())
    return makeError(MOERT_IO,
                     "the descriptor of rank %d was lost; this process may "
                     "have too many open files",
                     greeting.rank);
  out[greeting.rank] = std::move(fds.front());
  return Status::ok();
}

Status moe::rt::exchangeFdsOverSockets(Bootstrap &bootstrap, int fd,
                                       std::vector<UniqueFd> &out) {
  int rank = bootstrap.rank(), size = bootstrap.size();
  int64_t deadline = nowNs() + int64_t(bootstrap.timeoutSeconds() * 1e9);
  UniqueFd listener;
  Invitation mine{};
  mine.hasFd = fd >= 0;
  Status status = listenAnywhere(size, listener, mine);
  std::vector<Invitation> all(size);
  if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;

  out.clear();
  out.resize(size);
  std::vector<UniqueFd> connections(size);
  // Connecting and sending need no accept at the other end, as long as its
  // backlog has room for all ranks; so no order of ranks can block.
  if (fd >= 0)
    for (int i = 1; i < size && status.isOk(); ++i) {
      int peer = (rank + i) % size;
      if (all[peer].isReady)
        status = sendTo(all[peer], rank, fd, connections[peer], deadline);
    }
  if (fd >= 0) {
    out[rank] = UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (status.isOk() && !out[rank].isValid())
      status = makeOsError(MOERT_IO, errno, "cannot duplicate a descriptor");
  }
  auto isComplete = [&] {
    for (int r = 0; r < size; ++r)
      if (all[r].hasFd && !out[r].isValid())
        return false;
    return true;
  };
  // One that could not open its socket cannot send either: do not wait.
  for (int r = 0; r < size && status.isOk(); ++r)
    if (!all[r].isReady)
      status = makeError(MOERT_PEER_FAILED, "rank %d has no Unix socket", r);
  while (status.isOk() && !isComplete())
    status = acceptOne(listener.get(), mine, all, out, deadline);
  return agreeStatus(bootstrap, status);
}
