//===- FdExchange.cpp - passing descriptors over Unix sockets -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// For ranks that have nothing but an all-gather. Each listens on an abstract
/// Unix socket, to which any process of the machine may connect: so a rank
/// takes connections of its own user alone, knows the others by a secret, and
/// never waits for one connection. It goes round all of them until it has what
/// it needs.
///
//===----------------------------------------------------------------------===//

#include "SocketIO.h"
#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/WaitClock.h"

#include <algorithm>
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

/// A connection that was accepted, and what has come of its greeting.
struct Guest {
  UniqueFd socket;
  char bytes[sizeof(Greeting)];
  size_t received = 0;
  std::deque<UniqueFd> fds;
};

/// A connection to a peer that is to get this rank's descriptor.
struct Delivery {
  int peer;
  UniqueFd socket; ///< none until it is connected
  bool isDone = false;
};

class Exchange {
public:
  Exchange(const Bootstrap &bootstrap, int fd,
           const std::vector<Invitation> &all, UniqueFd listener,
           std::vector<UniqueFd> &out);
  /// Goes on until everything has come and gone.
  Status run(double timeoutSeconds);

private:
  bool isComplete() const;
  Status deliver(Delivery &delivery);
  Status greet();
  Status listenTo(Guest &guest, bool &isOver);
  Status dismiss(Guest &guest);
  Status step();
  void rest();
  Status timedOut(double seconds) const;
  int nameOf(int peer) const { return bootstrap.rankInWhole(peer); }

  const Bootstrap &bootstrap;
  int rank;
  int fd;
  const std::vector<Invitation> &all;
  UniqueFd listener;
  std::vector<UniqueFd> &out;
  std::vector<Delivery> deliveries;
  std::vector<Guest> guests;
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

/// Whether the process at the other end runs as the user of this one.
static bool isOwnUser(int socket) {
  ucred other{};
  socklen_t bytes = sizeof(other);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &other, &bytes) == 0 &&
         other.uid == geteuid();
}

Exchange::Exchange(const Bootstrap &bootstrap, int fd,
                   const std::vector<Invitation> &all, UniqueFd listener,
                   std::vector<UniqueFd> &out)
    : bootstrap(bootstrap), rank(bootstrap.rank()), fd(fd), all(all),
      listener(std::move(listener)), out(out) {
  int size = static_cast<int>(all.size());
  for (int i = 1; fd >= 0 && i < size; ++i)
    deliveries.push_back({(rank + i) % size, {}, false});
}

bool Exchange::isComplete() const {
  for (const Delivery &delivery : deliveries)
    if (!delivery.isDone)
      return false;
  for (size_t r = 0; r < all.size(); ++r)
    if (all[r].hasFd && !out[r].isValid())
      return false;
  return true;
}

/// Connects and sends, as far as that goes without waiting.
Status Exchange::deliver(Delivery &delivery) {
  const Invitation &peer = all[delivery.peer];
  if (!delivery.socket.isValid()) {
    UniqueFd made(
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made.isValid())
      return makeOsError(MOERT_IO, errno, "cannot open a Unix socket");
    if (connect(made.get(), reinterpret_cast<const sockaddr *>(&peer.address),
                peer.addressBytes) != 0) {
      // Too many others wait to be accepted.
      if (errno == EAGAIN || errno == EINTR)
        return Status::ok();
      return makeOsError(MOERT_PEER_FAILED, errno,
                         "cannot connect to the socket of rank %d",
                         nameOf(delivery.peer));
    }
    // The name of a rank that has gone is free for others.
    if (!isOwnUser(made.get()))
      return makeError(MOERT_PEER_FAILED,
                       "the socket of rank %d is another user's by now",
                       nameOf(delivery.peer));
    delivery.socket = std::move(made);
  }
  Greeting greeting{};
  std::memcpy(greeting.secret, peer.secret, sizeof(greeting.secret));
  greeting.rank = rank;
  // A fresh socket has room for it, so it is sent whole or not at all.
  ssize_t sent =
      sendSome(delivery.socket.get(), &greeting, sizeof(greeting), &fd, 1);
  if (sent < 0 && (errno == EAGAIN || errno == ETOOMANYREFS))
    return Status::ok();
  // The peer has taken this rank for a stranger, since it said nothing yet, and
  // has made room for others. Where it is gone, connecting again fails.
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
    delivery.socket = UniqueFd();
    return Status::ok();
  }
  if (sent != ssize_t(sizeof(greeting)))
    return makeOsError(MOERT_PEER_FAILED, sent < 0 ? errno : EPIPE,
                       "cannot send a descriptor to rank %d",
                       nameOf(delivery.peer));
  delivery.isDone = true;
  return Status::ok();
}

/// Takes in what has connected. Other users are shown out.
Status Exchange::greet() {
  // Strangers of this user may stay and say nothing: the eldest makes room.
  size_t mostGuests = all.size() + 64;
  if (guests.size() >= mostGuests) {
    if (Status s = dismiss(guests.front()); !s.isOk())
      return s;
    guests.erase(guests.begin());
  }
  while (guests.size() < mostGuests) {
    UniqueFd connection(accept4(listener.get(), nullptr, nullptr,
                                SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection.isValid()) {
      if (errno == EINTR || errno == ECONNABORTED)
        continue;
      if (errno == EAGAIN)
        return Status::ok();
      return makeOsError(MOERT_IO, errno, "cannot accept a connection");
    }
    if (!isOwnUser(connection.get()))
      continue;
    guests.emplace_back();
    guests.back().socket = std::move(connection);
  }
  return Status::ok();
}

/// Takes what a guest has said so far; `isOver` when no more is expected.
Status Exchange::listenTo(Guest &guest, bool &isOver) {
  ssize_t received =
      receiveSome(guest.socket.get(), guest.bytes + guest.received,
                  sizeof(guest.bytes) - guest.received, guest.fds);
  if (received < 0 && errno == EAGAIN)
    return Status::ok();
  isOver = received <= 0;
  if (isOver)
    return Status::ok();
  guest.received += size_t(received);
  isOver = guest.received == sizeof(guest.bytes);
  if (!isOver)
    return Status::ok();
  Greeting greeting;
  std::memcpy(&greeting, guest.bytes, sizeof(greeting));
  bool isPeer =
      greeting.rank >= 0 && greeting.rank < static_cast<int>(all.size()) &&
      std::memcmp(greeting.secret, all[rank].secret, sizeof(greeting.secret)) ==
          0;
  if (!isPeer)
    return Status::ok();
  if (guest.fds.empty())
    return makeError(MOERT_IO,
                     "the descriptor of rank %d was lost; this process may "
                     "have too many open files",
                     nameOf(greeting.rank));
  out[greeting.rank] = std::move(guest.fds.front());
  return Status::ok();
}

/// Takes what a guest has said until now. What it says later fails, so that a
/// rank that was held up before it spoke knows to come again.
Status Exchange::dismiss(Guest &guest) {
  (void)shutdown(guest.socket.get(), SHUT_RD);
  bool isOver = false;
  return listenTo(guest, isOver);
}

Status Exchange::step() {
  for (Delivery &delivery : deliveries)
    if (!delivery.isDone)
      if (Status s = deliver(delivery); !s.isOk())
        return s;
  if (Status s = greet(); !s.isOk())
    return s;
  for (size_t i = 0; i < guests.size();) {
    bool isOver = false;
    if (Status s = listenTo(guests[i], isOver); !s.isOk())
      return s;
    if (isOver)
      guests.erase(guests.begin() + static_cast<std::ptrdiff_t>(i));
    else
      ++i;
  }
  return Status::ok();
}

/// Waits for something to happen, and for a moment at most where a peer's
/// socket is full, which nothing tells the end of.
void Exchange::rest() {
  std::vector<pollfd> entries = {{listener.get(), POLLIN, 0}};
  for (const Guest &guest : guests)
    entries.push_back({guest.socket.get(), POLLIN, 0});
  bool isHeldUp =
      std::any_of(deliveries.begin(), deliveries.end(),
                  [](const Delivery &delivery) { return !delivery.isDone; });
  (void)poll(entries.data(), entries.size(), isHeldUp ? 1 : WaitClock::sliceMs);
}

Status Exchange::timedOut(double seconds) const {
  std::vector<int> silent, deaf;
  for (size_t r = 0; r < all.size(); ++r)
    if (all[r].hasFd && !out[r].isValid())
      silent.push_back(nameOf(static_cast<int>(r)));
  for (const Delivery &delivery : deliveries)
    if (!delivery.isDone)
      deaf.push_back(nameOf(delivery.peer));
  std::string text;
  if (!silent.empty())
    text = listRanks(silent) + " passed no descriptor";
  if (!deaf.empty())
    text += (text.empty() ? "" : " and ") + listRanks(deaf) + " took none";
  return makeError(MOERT_TIMEOUT, "%s within %g s", text.c_str(), seconds);
}

Status Exchange::run(double timeoutSeconds) {
  WaitClock clock;
  for (;;) {
    if (Status s = step(); !s.isOk())
      return s;
    if (isComplete())
      return Status::ok();
    if (clock.hasPassed(timeoutSeconds))
      return timedOut(timeoutSeconds);
    rest();
  }
}

Status moe::rt::exchangeFdsOverSockets(Bootstrap &bootstrap, int fd,
                                       std::vector<UniqueFd> &out) {
  int rank = bootstrap.rank(), size = bootstrap.size();
  UniqueFd listener;
  Invitation mine{};
  mine.hasFd = fd >= 0;
  Status status = listenAnywhere(size + 64, listener, mine);
  std::vector<Invitation> all(size);
  if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;

  out.clear();
  out.resize(size);
  if (fd >= 0) {
    out[rank] = UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (status.isOk() && !out[rank].isValid())
      status = makeOsError(MOERT_IO, errno, "cannot duplicate a descriptor");
  }
  // One that could not open its socket cannot send either: do not wait.
  for (int r = 0; r < size && status.isOk(); ++r)
    if (!all[r].isReady)
      status = makeError(MOERT_PEER_FAILED, "rank %d has no Unix socket",
                         bootstrap.rankInWhole(r));
  // Its sockets stay open until all ranks have what they were sent.
  Exchange exchange(bootstrap, fd, all, std::move(listener), out);
  if (status.isOk())
    status = exchange.run(bootstrap.timeoutSeconds());
  return agreeStatus(bootstrap, status);
}
