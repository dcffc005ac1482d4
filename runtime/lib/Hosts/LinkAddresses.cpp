//===- LinkAddresses.cpp - where a host may be reached --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinkMeeting.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>

using namespace moe::rt;

std::string LinkAddress::str() const {
  char text[INET6_ADDRSTRLEN] = "?";
  (void)inet_ntop(family, bytes, text, sizeof(text));
  return text;
}

bool LinkAddress::operator==(const LinkAddress &other) const {
  return family == other.family &&
         std::memcmp(bytes, other.bytes, sizeof(bytes)) == 0;
}

/// Of family 0 when other hosts have no use for it. Addresses of a link need
/// the number of an interface, which differs between hosts.
static LinkAddress readAddress(const sockaddr *address) {
  LinkAddress result;
  if (address && address->sa_family == AF_INET) {
    result.family = AF_INET;
    std::memcpy(result.bytes,
                &reinterpret_cast<const sockaddr_in *>(address)->sin_addr, 4);
  } else if (address && address->sa_family == AF_INET6) {
    const in6_addr &six =
        reinterpret_cast<const sockaddr_in6 *>(address)->sin6_addr;
    if (!IN6_IS_ADDR_LINKLOCAL(&six)) {
      result.family = AF_INET6;
      std::memcpy(result.bytes, &six, sizeof(six));
    }
  }
  return result;
}

Expected<std::vector<LinkAddress>>
moe::rt::findLinkAddresses(const char *chosen) {
  LinkAddress given;
  for (int family : {AF_INET, AF_INET6})
    if (chosen && inet_pton(family, chosen, given.bytes) == 1) {
      given.family = family;
      return std::vector<LinkAddress>{given};
    }
  ifaddrs *list = nullptr;
  if (getifaddrs(&list) != 0)
    return makeOsError(MOERT_IO, errno, "cannot list the network interfaces");
  std::unique_ptr<ifaddrs, void (*)(ifaddrs *)> owner(list, freeifaddrs);
  std::vector<LinkAddress> ordinary, loopback, ofChosen;
  std::string all;
  for (const ifaddrs *entry = list; entry; entry = entry->ifa_next) {
    LinkAddress address = readAddress(entry->ifa_addr);
    if (address.family == 0 || !(entry->ifa_flags & IFF_UP))
      continue;
    all += format("%s%s (%s)", all.empty() ? "" : ", ", entry->ifa_name,
                  address.str().c_str());
    if (chosen && std::strcmp(chosen, entry->ifa_name) == 0)
      ofChosen.push_back(address);
    (entry->ifa_flags & IFF_LOOPBACK ? loopback : ordinary).push_back(address);
  }
  if (chosen && ofChosen.empty())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "MOE_HOST_INTERFACE is '%s', which is neither an address "
                     "nor an interface that is up; there are %s",
                     chosen, all.empty() ? "none" : all.c_str());
  if (chosen)
    return ofChosen;
  if (ordinary.empty() && loopback.empty())
    return Status(MOERT_UNAVAILABLE,
                  "no network interface of this host is up, by which other "
                  "hosts could reach it");
  return ordinary.empty() ? loopback : ordinary;
}
