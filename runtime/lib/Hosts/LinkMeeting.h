//===- LinkMeeting.h - how hosts connect ------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Rank 0 listens and tells all ranks where, and two secrets. The leader of
/// another host says the first one when it has connected and gets the second
/// one as the answer, so that neither takes a stranger for the other. Then the
/// leader confirms: of several connections it keeps one, and it may have given
/// up one that rank 0 was slow to answer.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_HOSTS_LINKMEETING_H
#define MOE_RUNTIME_LIB_HOSTS_LINKMEETING_H

#include "moe-runtime/HostMap.h"
#include "moe-runtime/UniqueFd.h"

#include <cstdint>
#include <functional>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <vector>

namespace moe::rt {

/// An address of IPv4 or IPv6, without a port.
struct LinkAddress {
  int32_t family = 0;
  unsigned char bytes[16] = {};

  std::string str() const;
  bool operator==(const LinkAddress &other) const;
};

/// Where rank 0 may be reached: the addresses of all interfaces that are up, or
/// those of the interface `chosen`, or that address. Those of the loopback
/// interface only when there are no others.
Expected<std::vector<LinkAddress>> findLinkAddresses(const char *chosen);

/// What rank 0 tells all ranks.
struct LinkInvitation {
  static constexpr int mostAddresses = 16;
  int32_t code; ///< of the error because of which nobody listens
  uint32_t port;
  uint32_t numAddresses;
  LinkAddress addresses[mostAddresses];
  unsigned char secret[16], answer[16];
  char error[256];

  /// "10.0.0.1:4711, [fd00::1]:4711".
  std::string places() const;
};

/// What a leader says first.
struct LinkHello {
  static constexpr uint32_t magicValue = 0x4d4f4c48;
  uint32_t magic;
  uint32_t host;
  unsigned char secret[16];
};

/// What it says last, in the one connection that it keeps.
struct LinkConfirmation {
  static constexpr uint32_t magicValue = 0x4d4f4c43;
  uint32_t magic;
};

/// The address as the system wants it, and its length.
socklen_t fillAddress(sockaddr_storage &storage, const LinkAddress &address,
                      uint32_t port);
/// Small messages do not wait for more of them.
void sendAtOnce(int socket);

/// Makes the socket at which rank 0 listens. Errors are in the invitation, too.
Expected<UniqueFd> openLinkListener(int backlog, LinkInvitation &invitation);

/// Connects to rank 0 as the leader of `host`.
Expected<UniqueFd> visitLink(const LinkInvitation &invitation, int host,
                             double seconds);

/// Takes in those who come to a listener, without waiting.
class LinkReception {
public:
  /// `count` counts the one that listens, which is number 0.
  LinkReception(int listener, const LinkInvitation &invitation, size_t count)
      : listener(listener), invitation(invitation), count(count) {}

  void addTo(std::vector<pollfd> &entries) const;
  /// Hands over the connections of those who have said their number and the
  /// secret, and have confirmed the answer.
  void step(const std::function<void(size_t number, UniqueFd)> &found);
  /// Whether some have the answer, and may be about to confirm it.
  bool isAwaited() const;

private:
  /// A connection that was accepted, and what has come of the message that it
  /// is to say next.
  struct Guest {
    UniqueFd socket;
    char bytes[sizeof(LinkHello)];
    size_t received = 0;
    uint32_t number = 0; ///< once it has the answer
  };
  void accept();
  bool isOver(Guest &guest, const std::function<void(size_t, UniqueFd)> &found);
  bool answer(Guest &guest);

  int listener;
  const LinkInvitation &invitation;
  size_t count;
  std::vector<Guest> guests;
};

/// Takes connections until all other hosts are there, and returns them by the
/// numbers of their hosts.
Expected<std::vector<UniqueFd>> receiveLinks(int listener,
                                             const LinkInvitation &invitation,
                                             const HostMap &hosts,
                                             double seconds);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_HOSTS_LINKMEETING_H
