//===- HostMap.h - which ranks share a host ---------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Ranks of one host can share memory and pass descriptors. A host is told by
/// the boot id of its kernel and by the network namespace of the process, since
/// descriptors travel over abstract sockets. `MOE_HOSTID` splits such a machine
/// into several hosts; it cannot join two. Process namespaces do not matter:
/// descriptors pass between them, and only the death of a process that is not
/// visible shows later.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_HOSTMAP_H
#define MOE_RUNTIME_HOSTMAP_H

#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/Status.h"

#include <string>
#include <vector>

namespace moe::rt {

/// What this machine is called, for messages.
std::string hostName();

/// What a rank says of the host it is on.
struct HostIdentity {
  std::string machine; ///< its kernel and network namespace
  std::string id;      ///< of MOE_HOSTID, or ""
  std::string name;    ///< for messages

  /// Of this process. `hostId` is the value of MOE_HOSTID, or null.
  static Expected<HostIdentity> find(const char *hostId);
};

class HostMap {
public:
  /// Collective: asks all ranks. The same result or an error on all of them.
  static Expected<HostMap> create(Bootstrap &bootstrap);
  /// The same for a rank with an identity that its process does not have, or
  /// with none, and why.
  static Expected<HostMap> create(Bootstrap &bootstrap,
                                  const Expected<HostIdentity> &mine);
  /// All `ranks` ranks on this host.
  static HostMap oneHost(int ranks);

  /// Hosts are numbered by their lowest ranks.
  int numHosts() const { return static_cast<int>(ranksByHost.size()); }
  bool isOneHost() const { return numHosts() == 1; }
  int hostOf(int rank) const { return hostByRank[rank]; }
  /// In ascending order; the first one leads the host.
  const std::vector<int> &ranksOf(int host) const { return ranksByHost[host]; }
  /// The host's name for messages.
  const std::string &nameOf(int host) const { return names[host]; }
  /// The rank that leads the host of `rank`.
  int leaderOf(int rank) const { return ranksOf(hostOf(rank)).front(); }
  bool areTogether(int rank, int other) const {
    return hostByRank[rank] == hostByRank[other];
  }
  /// "node1 (ranks 0 and 1)".
  std::string describe(int host) const;
  /// "node1 (ranks 0 and 1) and node2 (ranks 2 and 3)".
  std::string describe() const;

private:
  std::vector<int> hostByRank;
  std::vector<std::vector<int>> ranksByHost;
  std::vector<std::string> names;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_HOSTMAP_H
