//===- GroupControl.h - errors and progress that ranks share ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The control plane of a group: one block of plain shared memory per rank in
/// which it publishes what it is doing and the error it met, and the rules by
/// which waiting ranks read the blocks of others. It is host memory whatever
/// the backend. In a group of several hosts each has such memory with blocks
/// for all ranks; a HostLink keeps those for ranks of other hosts up to date.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_GROUPCONTROL_H
#define MOE_RUNTIME_GROUPCONTROL_H

#include "moe-runtime/HostLink.h"
#include "moe-runtime/HostMap.h"
#include "moe-runtime/Status.h"
#include "moe-runtime/WaitClock.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

struct ControlMemory;
struct RankBlock;

/// Something all ranks do together at the level of a context.
struct GroupOp {
  enum Kind : uint32_t { Call = 1, Load, Unload, SymmAlloc, SymmFree };
  Kind kind;
  uint64_t hash;    ///< of everything that has to be equal on all ranks
  std::string text; ///< "call of entry 'layer' of artifact layer.so"
  Status local;     ///< an error that keeps this rank from taking part
};

/// A flag that a rank waits for, by its offset in that rank's slice of the
/// symmetric heap, and the value that it waits for.
struct AwaitedFlag {
  uint64_t offset, value;
};

/// What tells a collective from all others that a group runs between two
/// resets. Equal on all ranks that are in it.
struct CollectiveId {
  uint64_t artifact = 0, site = 0;
  uint64_t groupOp = 0; ///< number of the operation it belongs to
  uint64_t ordinal = 0; ///< its own number

  bool operator==(const CollectiveId &other) const {
    return artifact == other.artifact && site == other.site &&
           groupOp == other.groupOp && ordinal == other.ordinal;
  }
};

/// 64-bit FNV-1a.
uint64_t hashText(const std::string &text, uint64_t seed = 0);

class GroupControl {
public:
  /// Collective. Of ranks on one host.
  static Expected<std::unique_ptr<GroupControl>> create(Bootstrap &bootstrap);
  /// Collective. `onHost` is of the ranks of this one's host.
  static Expected<std::unique_ptr<GroupControl>>
  create(Bootstrap &bootstrap, Bootstrap &onHost, const HostMap &hosts);
  ~GroupControl();
  /// Tells the others that this rank has left the group. The leader of one of
  /// several hosts waits a moment until others have left as well.
  void leave();

  int rank() const { return myRank; }
  int size() const { return groupSize; }

  /// \name What this rank publishes
  /// @{
  void beginGroupOp(const GroupOp &op);
  void endGroupOp();
  void beginCollective(const char *op, const char *location, int64_t site,
                       uint64_t artifact);
  void setPhase(const char *phase);
  void endCollective();
  /// No more collectives come in the running operation. `isQueued` when they
  /// are the work of a device, which may not have come to their end.
  void endCollectives(bool isQueued);
  /// "moe.dispatch at a.mlir:3:5, phase 'put'", or the running group op.
  std::string here() const;
  /// Op, location and phase of the running collective; unknown outside of one.
  ErrorDetails place() const;
  /// The collective that this rank began last.
  CollectiveId collective() const;
  /// @}

  /// \name Errors
  /// @{
  /// Records `status` and tells the group. The first rank to do so is the
  /// error's origin. A later one keeps its error if it has nothing to do with
  /// other ranks; else `status` becomes the group's error, of which it is
  /// likely a consequence.
  void raise(Status &status);
  /// The group's error as this rank reports it, or Ok.
  Status groupError() const;
  /// Rank whose error was first, or -1.
  int originRank() const;
  /// Collective through the bootstrap: forgets errors and all counters.
  Status reset(Bootstrap &bootstrap);
  /// @}

  /// \name What a waiting rank looks at
  /// @{
  /// Group error or ranks that run other collectives than this one.
  Status checkGroup() const;
  /// The same, but of all other ranks only `awaited` and some more, from `next`
  /// on, so that a look costs little however many ranks there are. `next` goes
  /// round: looksPerRound looks are one at everybody.
  Status checkSome(int awaited, int &next) const;
  static constexpr int looksPerRound = 32;
  /// `peer` is in the collective that this rank is in; false also when it is
  /// further. One load.
  bool isInSameCollective(int peer) const;
  /// `peer` runs another collective than this rank. A few loads when not.
  Status compareCollectives(int peer) const;
  /// `peer` has left the group or its process has died.
  Status checkAlive(int peer) const;
  /// Whether it has destroyed its context.
  bool hasLeft(int peer) const;
  /// The process of `peer` has died.
  Status checkProcess(int peer) const;
  /// The error of a transport that has lost a rank and cannot say which one:
  /// with its name, once the group knows it, or as it was, after a second.
  Status nameDeath(const Status &lost) const;
  /// Where `peer` was last seen.
  std::string lastSeen(int peer) const;

  /// Waits until all ranks have begun the group operation this rank is in,
  /// and compares them. `raised` says whether the whole group has failed, or
  /// just the operation because some rank had a local error.
  Status agree(const GroupOp &op, double timeoutSeconds, bool &raised);
  /// @}

  /// \name Sleep
  /// @{
  /// Sleeps for at most `mostNs`, or until `peer` has signalled the flag, or an
  /// error is raised. False when the time was up. May end earlier.
  bool sleep(int peer, const AwaitedFlag &flag,
             const std::function<bool()> &isThere, int64_t mostNs);
  /// Wakes ranks that sleep for flags from this rank which are there, by
  /// `isThere(rank, flag)`. One operation where nobody sleeps.
  void
  wakeSleepers(const std::function<bool(int, const AwaitedFlag &)> &isThere);
  /// @}

private:
  GroupControl(std::shared_ptr<ControlMemory> memory, const HostMap &hosts,
               int rank);
  RankBlock &block(int rank) const;
  void watchPeers();
  Status linkHosts(Bootstrap &bootstrap, Bootstrap &onHost);
  void ring();
  bool isFar(int peer) const { return !hosts.areTogether(myRank, peer); }
  Status lostHost(int peer) const;
  Status diedOn(int peer, const std::string &where) const;
  bool hasProcessEnded(int peer) const;
  Status compareGroupOps(int peer) const;
  Status compare(int peer) const;
  Status compareNumbers(int peer) const;
  Status endedWithout(int longer, int shorter, uint64_t groupOp,
                      uint64_t ordinal) const;
  struct Meeting;
  bool waitForPeer(int peer, Meeting &meeting, Status &error) const;
  Status meet(const GroupOp &op, Meeting &meeting) const;
  Status missing(const GroupOp &op, const Meeting &meeting) const;
  Status localErrors(const GroupOp &op, uint64_t ordinal) const;

  std::shared_ptr<ControlMemory> memory;
  HostMap hosts;
  int myRank;
  int groupSize;
  uint64_t myCollective = 0;
  std::vector<UniqueFd> peerProcesses; ///< pidfd per rank, none if unknown
  UniqueFd bell; ///< that wakes the link; of several hosts only
  std::unique_ptr<HostLink> link; ///< on leaders of several hosts
};

} // namespace moe::rt

#endif // MOE_RUNTIME_GROUPCONTROL_H
