//===- HostLink.cpp - the control plane between hosts ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Link.h"
#include "LinkMeeting.h"

#include <algorithm>

using namespace moe::rt;

HostLink::~HostLink() = default;

double HostLink::silenceSeconds(double timeoutSeconds) {
  return std::max(2.0, timeoutSeconds / 4);
}

/// The sockets to other hosts by their numbers; none on ranks that do not lead.
static Expected<std::vector<UniqueFd>>
connectHosts(const HostLinkSetup &setup) {
  Bootstrap &bootstrap = setup.bootstrap;
  const HostMap &hosts = setup.hosts;
  int rank = bootstrap.rank(), host = hosts.hostOf(rank);
  LinkInvitation mine{};
  UniqueFd listener;
  Status status;
  if (rank == 0) {
    auto opened = openLinkListener(hosts.numHosts() + 64, mine);
    status = opened.status();
    if (opened.isOk())
      listener = opened.take();
  }
  std::vector<LinkInvitation> all(bootstrap.size());
  if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;
  if (!status.isOk())
    return status;
  if (all[0].code != MOERT_OK)
    return makeError(MOERT_PEER_FAILED, "rank 0 failed: %s", all[0].error)
        .aboutPeer(0);
  std::vector<UniqueFd> sockets(hosts.numHosts());
  // The others wait for this, and for no longer than the time-out.
  double seconds = bootstrap.timeoutSeconds() / 2;
  if (rank == 0) {
    auto links = receiveLinks(listener.get(), all[0], hosts, seconds);
    status = links.status();
    if (links.isOk())
      sockets = links.take();
  } else if (rank == hosts.leaderOf(rank)) {
    auto link = visitLink(all[0], host, seconds);
    status = link.status().withPrefix("host " + hosts.describe(host));
    if (link.isOk())
      sockets[0] = link.take();
  }
  if (Status s = agreeStatus(bootstrap, status); !s.isOk())
    return s;
  return sockets;
}

Expected<std::unique_ptr<HostLink>>
HostLink::create(const HostLinkSetup &setup) {
  auto failed = [](const Status &status) {
    return status.withPrefix("connecting the hosts");
  };
  auto sockets = connectHosts(setup);
  if (!sockets.isOk())
    return failed(sockets.status());
  std::unique_ptr<Link> link;
  Status status;
  int rank = setup.bootstrap.rank();
  if (rank == setup.hosts.leaderOf(rank)) {
    link = std::make_unique<Link>(setup, sockets.take());
    status = link->start();
  }
  if (Status s = agreeStatus(setup.bootstrap, status); !s.isOk())
    return failed(s);
  return std::unique_ptr<HostLink>(std::move(link));
}
