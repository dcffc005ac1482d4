//===- Link.h - the thread that talks to other hosts ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_HOSTS_LINK_H
#define MOE_RUNTIME_LIB_HOSTS_LINK_H

#include "../Core/ControlBlock.h"
#include "LinkConnection.h"
#include "RankSnapshot.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/HostLink.h"

#include <mutex>
#include <thread>

namespace moe::rt {

/// A connection to another host's leader, and what it knows.
struct Neighbour {
  int host;
  LinkConnection connection;
  std::vector<uint64_t> sent; ///< version of each rank that it was sent
  int64_t nextBeat = 0;
};

/// The newest that is known of a rank.
struct Latest {
  std::string bytes;
  uint64_t version = 0;
  uint64_t generation = 0;
  uint64_t urgent = 0; ///< as of this host's rank when it was looked at
};

class Link : public HostLink {
public:
  Link(const HostLinkSetup &setup, std::vector<UniqueFd> sockets);
  ~Link() override { leave(); }

  Status start();
  void beginGeneration() override;
  void leave() override;

private:
  void serve();
  void turn(bool isRung);
  bool mayEnd();
  void sayGoodbye();
  void look(bool onlyUrgent);
  void lookAt(int rank);
  void take(Neighbour &from, LinkFrame::Kind kind, std::string_view payload);
  void takeSnapshot(Neighbour &from, std::string_view payload);
  void apply(const RankSnapshot &snapshot);
  void fill(Neighbour &to);
  void exchange(Neighbour &other);
  void lose(int host, const std::string &why);
  void markLost(int host, const std::string &text);
  bool haveLeft(const std::vector<int> &ranks) const;
  bool isHub() const { return myHost == 0; }
  bool isLocal(int rank) const { return hosts.hostOf(rank) == myHost; }
  void ring();

  HostMap hosts;
  int myHost;
  std::shared_ptr<ControlMemory> memory;
  int bell;
  std::vector<int> processes;
  std::function<std::string(int)> lastSeen;
  double silence;
  int64_t progress;

  /// Held by whoever uses what follows; never while the thread waits.
  std::mutex mutex;
  std::vector<Neighbour> neighbours;
  std::vector<Latest> latest;
  std::vector<bool> hasDied, isLost;
  uint64_t generation = 0;
  int64_t nextProgress = 0;
  bool isLeaving = false;
  Deadline grace{0};

  std::thread thread;
};
} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_HOSTS_LINK_H
