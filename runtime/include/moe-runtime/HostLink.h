//===- HostLink.h - the control plane between hosts -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Ranks of a host publish what they do in memory that they share. Between
/// hosts that travels over TCP: the leader of each host has a connection to
/// rank 0, and a thread that sends what its host's ranks have published and
/// writes what those of other hosts have into its host's copies of their
/// blocks. Rank 0 hands on what it gets. See docs/Runtime/Hosts.md.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_HOSTLINK_H
#define MOE_RUNTIME_HOSTLINK_H

#include "moe-runtime/HostMap.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

struct ControlMemory;

/// What a link is made from.
struct HostLinkSetup {
  Bootstrap &bootstrap; ///< of the whole group
  const HostMap &hosts;
  std::shared_ptr<ControlMemory> memory;
  /// An eventfd that ranks of the host write to when others should know at once
  /// what they have published. Stays open.
  int bell;
  /// A pidfd for each rank of the group, or -1. Stay open.
  std::vector<int> processes;
  /// That of a rank as it was last seen.
  std::function<std::string(int rank)> lastSeen;
};

class HostLink {
public:
  /// Collective over all ranks of the group. Null on ranks that do not lead
  /// their hosts.
  static Expected<std::unique_ptr<HostLink>> create(const HostLinkSetup &setup);
  virtual ~HostLink();

  /// What ranks published before is void: zeroes the copies. Called between the
  /// two meetings of a reset.
  virtual void beginGeneration() = 0;

  /// Says goodbye and ends the thread: at once where the group has failed, else
  /// when the ranks that need the link have left, or after `graceSeconds`.
  virtual void leave() = 0;

  static constexpr double graceSeconds = 2;
  /// How long a host may be silent in a group with this time-out.
  static double silenceSeconds(double timeoutSeconds);
};

} // namespace moe::rt

#endif // MOE_RUNTIME_HOSTLINK_H
