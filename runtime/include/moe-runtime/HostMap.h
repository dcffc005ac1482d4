//===- HostMap.h - which ranks share a host ---------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Ranks of one host can share memory, pass descriptors and watch each other's
/// processes. A host is told by the boot id of its kernel and by the network
/// namespace of the process, since descriptors travel over abstract sockets;
/// `MOE_HOSTID` takes the place of both, so that tests can split one machine.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_HOSTMAP_H
#define MOE_RUNTIME_HOSTMAP_H

#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/Status.h"

#include <string>
#include <vector>

namespace moe::rt {

class HostMap {
public:
  /// Collective: asks all ranks.
  static Expected<HostMap> create(Bootstrap &bootstrap);
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
  bool areTogether(int rank, int other) const {
    return hostByRank[rank] == hostByRank[other];
  }
  /// "node1 (ranks 0 and 1) and node2 (ranks 2 and 3)".
  std::string describe() const;

private:
  std::vector<int> hostByRank;
  std::vector<std::vector<int>> ranksByHost;
  std::vector<std::string> names;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_HOSTMAP_H
