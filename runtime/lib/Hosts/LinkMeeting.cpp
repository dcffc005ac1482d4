//===- LinkMeeting.cpp - how hosts connect --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinkMeeting.h"

#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

using namespace moe::rt;

std::string LinkInvitation::places() const {
  std::string text;
  for (uint32_t i = 0; i < numAddresses; ++i) {
    bool isSix = addresses[i].family == AF_INET6;
    text += format("%s%s%s%s:%u", i ? ", " : "", isSix ? "[" : "",
                   addresses[i].str().c_str(), isSix ? "]" : "", port);
  }
  return text;
}

void moe::rt::sendAtOnce(int socket) {
  int yes = 1;
  (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

socklen_t moe::rt::fillAddress(sockaddr_storage &storage,
                               const LinkAddress &address, uint32_t port) {
  storage = {};
  if (address.family == AF_INET) {
    auto *four = reinterpret_cast<sockaddr_in *>(&storage);
    four->sin_family = AF_INET;
    four->sin_port = htons(uint16_t(port));
    std::memcpy(&four->sin_addr, address.bytes, sizeof(four->sin_addr));
    return sizeof(*four);
  }
  auto *six = reinterpret_cast<sockaddr_in6 *>(&storage);
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(uint16_t(port));
  std::memcpy(&six->sin6_addr, address.bytes, sizeof(six->sin6_addr));
  return sizeof(*six);
}

//===----------------------------------------------------------------------===//
// Rank 0
//===----------------------------------------------------------------------===//

/// Of all interfaces: over IPv6 and IPv4, or IPv4 alone where there is no IPv6.
static Expected<UniqueFd> listenAnywhere(int backlog, uint32_t &port) {
  int error = 0;
  for (int family : {AF_INET6, AF_INET}) {
    UniqueFd made(
        socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int no = 0;
    sockaddr_storage any;
    LinkAddress nothing;
    nothing.family = family;
    socklen_t bytes = fillAddress(any, nothing, 0);
    auto *address = reinterpret_cast<sockaddr *>(&any);
    if (made.isValid() &&
        (family == AF_INET || setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY,
                                         &no, sizeof(no)) == 0) &&
        bind(made.get(), address, bytes) == 0 &&
        listen(made.get(), backlog) == 0 &&
        getsockname(made.get(), address, &bytes) == 0) {
      port = ntohs(family == AF_INET
                       ? reinterpret_cast<sockaddr_in *>(&any)->sin_port
                       : reinterpret_cast<sockaddr_in6 *>(&any)->sin6_port);
      return made;
    }
    error = errno;
  }
  return makeOsError(MOERT_IO, error, "cannot listen for other hosts");
}

Expected<UniqueFd> moe::rt::openLinkListener(int backlog,
                                             LinkInvitation &invitation) {
  invitation = {};
  auto fail = [&](const Status &status) {
    invitation.code = status.code();
    std::strncpy(invitation.error, status.message().c_str(),
                 sizeof(invitation.error) - 1);
    return status;
  };
  auto addresses = findLinkAddresses(std::getenv("MOE_HOST_INTERFACE"));
  if (!addresses.isOk())
    return fail(addresses.status());
  for (const LinkAddress &address : *addresses)
    if (invitation.numAddresses < LinkInvitation::mostAddresses)
      invitation.addresses[invitation.numAddresses++] = address;
  if (getrandom(invitation.secret, sizeof(invitation.secret), 0) !=
          sizeof(invitation.secret) ||
      getrandom(invitation.answer, sizeof(invitation.answer), 0) !=
          sizeof(invitation.answer))
    return fail(makeOsError(MOERT_IO, errno, "cannot make a secret"));
  auto listener = listenAnywhere(backlog, invitation.port);
  if (!listener.isOk())
    return fail(listener.status());
  return listener;
}

/// Strangers may stay and say nothing: the eldest makes room. A leader that is
/// shown out comes again, unless it has the answer.
void LinkReception::accept() {
  size_t mostGuests = count + 64;
  for (;;) {
    UniqueFd connection(
        accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection.isValid()) {
      if (errno == EINTR || errno == ECONNABORTED)
        continue;
      return;
    }
    auto eldest =
        std::find_if(guests.begin(), guests.end(),
                     [](const Guest &guest) { return guest.number == 0; });
    if (guests.size() >= mostGuests && eldest != guests.end())
      guests.erase(eldest);
    guests.emplace_back();
    guests.back().socket = std::move(connection);
  }
}

/// Answers a greeting that is whole. False when it is none.
bool LinkReception::answer(Guest &guest) {
  LinkHello hello;
  std::memcpy(&hello, guest.bytes, sizeof(hello));
  if (hello.magic != LinkHello::magicValue || hello.host == 0 ||
      hello.host >= count ||
      std::memcmp(hello.secret, invitation.secret, sizeof(hello.secret)) != 0)
    return false;
  sendAtOnce(guest.socket.get());
  guest.number = hello.host;
  guest.received = 0;
  // A fresh connection has room for the answer.
  return send(guest.socket.get(), invitation.answer, sizeof(invitation.answer),
              MSG_NOSIGNAL | MSG_DONTWAIT) ==
         ssize_t(sizeof(invitation.answer));
}

/// Takes what a guest has said so far.
bool LinkReception::isOver(Guest &guest,
                           const std::function<void(size_t, UniqueFd)> &found) {
  for (;;) {
    // No more: what follows is for whoever gets the connection.
    size_t wanted = guest.number ? sizeof(LinkConfirmation) : sizeof(LinkHello);
    ssize_t received = recv(guest.socket.get(), guest.bytes + guest.received,
                            wanted - guest.received, MSG_DONTWAIT);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
      return false;
    if (received <= 0)
      return true;
    guest.received += size_t(received);
    if (guest.received < wanted)
      continue;
    if (guest.number)
      break;
    if (!answer(guest))
      return true;
  }
  LinkConfirmation confirmation;
  std::memcpy(&confirmation, guest.bytes, sizeof(confirmation));
  if (confirmation.magic == LinkConfirmation::magicValue)
    found(guest.number, std::move(guest.socket));
  return true;
}

void LinkReception::step(const std::function<void(size_t, UniqueFd)> &found) {
  accept();
  guests.erase(
      std::remove_if(guests.begin(), guests.end(),
                     [&](Guest &guest) { return isOver(guest, found); }),
      guests.end());
}

bool LinkReception::isAwaited() const {
  return std::any_of(guests.begin(), guests.end(),
                     [](const Guest &guest) { return guest.number != 0; });
}

void LinkReception::addTo(std::vector<pollfd> &entries) const {
  entries.push_back({listener, POLLIN, 0});
  for (const Guest &guest : guests)
    entries.push_back({guest.socket.get(), POLLIN, 0});
}

Expected<std::vector<UniqueFd>>
moe::rt::receiveLinks(int listener, const LinkInvitation &invitation,
                      const HostMap &hosts, double seconds) {
  std::vector<UniqueFd> links(hosts.numHosts());
  LinkReception reception(listener, invitation, links.size());
  for (Deadline deadline(seconds);;) {
    reception.step(
        [&](size_t host, UniqueFd socket) { links[host] = std::move(socket); });
    std::vector<int> absent;
    for (size_t host = 1; host < links.size(); ++host)
      if (!links[host].isValid())
        absent.push_back(static_cast<int>(host));
    if (absent.empty())
      return links;
    if (deadline.isOver()) {
      std::string names;
      for (int host : absent)
        names += (names.empty() ? "" : ", ") + hosts.describe(host);
      return makeError(MOERT_TIMEOUT,
                       "%s did not connect to rank 0 on %s at %s within %g s; "
                       "MOE_HOST_INTERFACE on rank 0 names the interface or "
                       "address at which other hosts reach it",
                       names.c_str(), hosts.nameOf(0).c_str(),
                       invitation.places().c_str(), seconds)
          .aboutPeer(hosts.ranksOf(absent.front()).front());
    }
    std::vector<pollfd> entries;
    reception.addTo(entries);
    (void)poll(entries.data(), entries.size(), deadline.sliceMs());
  }
}
