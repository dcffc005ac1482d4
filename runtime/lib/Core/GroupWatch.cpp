//===- GroupWatch.cpp - what a waiting rank looks at ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ControlBlock.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/GroupControl.h"

#include <chrono>
#include <poll.h>
#include <thread>

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// Where ranks are
//===----------------------------------------------------------------------===//

static const CollectiveRecord &collectiveOf(const RankBlock &block,
                                            uint64_t ordinal) {
  return block.collectiveRing[ordinal % RankBlock::collectiveSlots];
}

static const GroupOpRecord &groupOpOf(const RankBlock &block,
                                      uint64_t ordinal) {
  return block.groupOpRing[ordinal % RankBlock::groupOpSlots];
}

static std::string placeOfCollective(const CollectiveRecord &record) {
  return record.op.load() + " at " + record.location.load();
}

static std::string describeCollective(const RankBlock &block) {
  uint64_t ordinal = block.collectives.load(std::memory_order_acquire);
  return placeOfCollective(collectiveOf(block, ordinal)) + ", phase '" +
         block.phase.load() + "'";
}

static std::string describeGroupOp(const RankBlock &block) {
  uint64_t ordinal = block.groupOps.load(std::memory_order_acquire);
  return groupOpOf(block, ordinal).text.load();
}

/// "moe.combine at a.mlir:3:5": the last collective of the running operation,
/// or "".
static std::string lastCollective(const RankBlock &block) {
  uint64_t ordinal = block.collectives.load(std::memory_order_acquire);
  uint64_t groupOp = block.groupOps.load(std::memory_order_acquire);
  const CollectiveRecord &record = collectiveOf(block, ordinal);
  if (ordinal == 0 ||
      record.ordinal.load(std::memory_order_acquire) != ordinal ||
      record.groupOp.load(std::memory_order_acquire) != groupOp)
    return "";
  return placeOfCollective(record);
}

ErrorDetails GroupControl::place() const {
  ErrorDetails details;
  const RankBlock &mine = block(myRank);
  if (mine.state != uint32_t(RankState::InCollective))
    return details;
  uint64_t ordinal = mine.collectives.load(std::memory_order_acquire);
  details.op = collectiveOf(mine, ordinal).op.load();
  details.location = collectiveOf(mine, ordinal).location.load();
  details.phase = mine.phase.load();
  return details;
}

CollectiveId GroupControl::collective() const {
  const RankBlock &mine = block(myRank);
  uint64_t ordinal = mine.collectives.load(std::memory_order_relaxed);
  const CollectiveRecord &record = collectiveOf(mine, ordinal);
  return {record.artifact.load(std::memory_order_relaxed),
          record.site.load(std::memory_order_relaxed),
          record.groupOp.load(std::memory_order_relaxed), ordinal};
}

std::string GroupControl::here() const {
  const RankBlock &mine = block(myRank);
  if (mine.state == uint32_t(RankState::InCollective))
    return describeCollective(mine);
  return describeGroupOp(mine);
}

std::string GroupControl::lastSeen(int peer) const {
  const RankBlock &other = block(peer);
  auto with = [&](const char *before, const char *after) {
    std::string last = lastCollective(other);
    return before + describeGroupOp(other) + (last.empty() ? "" : after + last);
  };
  switch (RankState(other.state.load(std::memory_order_acquire))) {
  case RankState::InCollective:
    return "in " + describeCollective(other);
  case RankState::InGroupOp:
    return with("outside a collective, in the ", ", after ");
  case RankState::OnDevice:
    return with("waiting for its GPU in the ",
                ", where the last collective is ");
  case RankState::Idle:
    return "not in a call";
  case RankState::Left:
    return "leaving the group";
  case RankState::Joining:
    break;
  }
  return "joining the group";
}

//===----------------------------------------------------------------------===//
// What keeps ranks from meeting
//===----------------------------------------------------------------------===//

Status GroupControl::compareGroupOps(int peer) const {
  const RankBlock &mine = block(myRank), &other = block(peer);
  uint64_t ordinal = mine.groupOps.load(std::memory_order_relaxed);
  if (other.groupOps.load(std::memory_order_acquire) < ordinal)
    return Status::ok();
  size_t slot = ordinal % RankBlock::groupOpSlots;
  const GroupOpRecord &ours = mine.groupOpRing[slot];
  const GroupOpRecord &theirs = other.groupOpRing[slot];
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  bool isSame = theirs.kind.load(std::memory_order_acquire) == ours.kind &&
                theirs.hash.load(std::memory_order_acquire) == ours.hash;
  std::string text = theirs.text.load();
  // An operation that failed locally may not know what it was about.
  bool isFailed = theirs.localError.code.load(std::memory_order_acquire) ||
                  ours.localError.code.load(std::memory_order_relaxed);
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal || isSame ||
      (isFailed && theirs.kind == ours.kind))
    return Status::ok();
  std::string mineText = ours.text.load();
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks do different things: rank %d is in the %s, "
                   "but rank %d is in the %s%s",
                   myRank, myRank, mineText.c_str(), peer, text.c_str(),
                   mineText == text ? ", which differ in what is left out here"
                                    : "")
      .aboutPeer(peer)
      .expecting(mineText, text);
}

/// Rank `longer` has begun collective `ordinal` in an operation that `shorter`
/// has ended without it.
Status GroupControl::endedWithout(int longer, int shorter, uint64_t groupOp,
                                  uint64_t ordinal) const {
  const GroupOpRecord &ended = groupOpOf(block(shorter), groupOp);
  const CollectiveRecord &extra = collectiveOf(block(longer), ordinal);
  // Of a rank on another host no more than the last of each is known here.
  bool isKnown = ended.ordinal.load(std::memory_order_acquire) == groupOp;
  std::string what = isKnown ? ended.text.load() : "operation of that time";
  std::string before;
  if (isKnown) {
    uint64_t last = ended.collectivesAfter.load(std::memory_order_acquire);
    const CollectiveRecord &record = collectiveOf(block(shorter), last);
    if (last <= ended.collectivesBefore.load(std::memory_order_acquire))
      before = "; it had none";
    else if (record.ordinal.load(std::memory_order_acquire) == last)
      before = "; its last one was " + placeOfCollective(record);
  }
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks call different collectives: rank %d is in "
                   "%s, but rank %d has ended the %s without it%s",
                   myRank, longer, placeOfCollective(extra).c_str(), shorter,
                   what.c_str(), before.c_str())
      .detailed([&](ErrorDetails &details) {
        details.op = extra.op.load();
        details.location = extra.location.load();
        details.peer = longer == myRank ? shorter : longer;
        details.expected = placeOfCollective(extra);
        details.seen = "end of the " + what;
      });
}

/// Where collectives are queued rather than waited for, their number in the
/// running operation shows that ranks do not call the same ones.
Status GroupControl::compareNumbers(int peer) const {
  const RankBlock &mine = block(myRank), &other = block(peer);
  uint64_t groupOp = mine.groupOps.load(std::memory_order_relaxed);
  uint64_t begun = mine.collectives.load(std::memory_order_relaxed);
  bool isMineOver =
      mine.groupOpsQueued.load(std::memory_order_relaxed) == groupOp;
  if (groupOp == 0)
    return Status::ok();
  const GroupOpRecord &theirs = groupOpOf(other, groupOp);
  if (other.groupOpsQueued.load(std::memory_order_acquire) >= groupOp) {
    uint64_t after = theirs.collectivesAfter.load(std::memory_order_acquire);
    // The peer may be so far ahead that its record is another one by now.
    if (theirs.ordinal.load(std::memory_order_acquire) != groupOp ||
        after == begun)
      return Status::ok();
    if (after < begun)
      return endedWithout(myRank, peer, groupOp, after + 1);
  }
  if (!isMineOver)
    return Status::ok();
  const CollectiveRecord &next = collectiveOf(other, begun + 1);
  if (next.ordinal.load(std::memory_order_acquire) != begun + 1 ||
      next.groupOp.load(std::memory_order_acquire) != groupOp)
    return Status::ok();
  return endedWithout(peer, myRank, groupOp, begun + 1);
}

Status GroupControl::compareCollectives(int peer) const {
  const RankBlock &mine = block(myRank), &other = block(peer);
  uint64_t ordinal = mine.collectives.load(std::memory_order_relaxed);
  uint64_t groupOp = mine.groupOps.load(std::memory_order_relaxed);
  if (RankState(mine.state.load(std::memory_order_relaxed)) !=
      RankState::InCollective)
    return compareNumbers(peer);
  const CollectiveRecord &ours = collectiveOf(mine, ordinal);
  // Read before the count of collectives, which can then only be newer.
  bool hasFinished =
      other.groupOpsQueued.load(std::memory_order_acquire) >= groupOp;
  if (other.collectives.load(std::memory_order_acquire) < ordinal)
    return hasFinished ? endedWithout(myRank, peer, groupOp, ordinal)
                       : Status::ok();
  const CollectiveRecord &theirs = collectiveOf(other, ordinal);
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  uint64_t theirOp = theirs.groupOp.load(std::memory_order_acquire);
  bool isSame =
      theirs.site.load(std::memory_order_acquire) == ours.site &&
      theirs.artifact.load(std::memory_order_acquire) == ours.artifact &&
      theirOp == groupOp;
  if (isSame)
    return Status::ok();
  std::string place = placeOfCollective(theirs);
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  // The same collective, say, but of the next call.
  if (theirOp > groupOp)
    return endedWithout(myRank, peer, groupOp, ordinal);
  if (theirOp < groupOp)
    return endedWithout(peer, myRank, theirOp, ordinal);
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks call different collectives: rank %d is in "
                   "%s, but rank %d is in %s",
                   myRank, myRank, placeOfCollective(ours).c_str(), peer,
                   place.c_str())
      .detailed([&](ErrorDetails &details) {
        details = this->place();
        details.peer = peer;
        details.expected = placeOfCollective(ours);
        details.seen = place;
      });
}

/// Whether `peer` does the same as this rank, as far as can be seen.
Status GroupControl::compare(int peer) const {
  if (peer == myRank)
    return Status::ok();
  if (Status s = compareGroupOps(peer); !s.isOk())
    return s;
  return compareCollectives(peer);
}

Status GroupControl::checkGroup() const {
  if (Status error = groupError(); !error.isOk())
    return error;
  for (int peer = 0; peer < groupSize; ++peer)
    if (Status s = compare(peer); !s.isOk())
      return s;
  return Status::ok();
}

Status GroupControl::checkSome(int awaited, int &next) const {
  if (Status error = groupError(); !error.isOk())
    return error;
  if (Status s = compare(awaited); !s.isOk())
    return s;
  int number = (groupSize + looksPerRound - 1) / looksPerRound;
  for (int i = 0; i < number; ++i) {
    if (Status s = compare(next); !s.isOk())
      return s;
    next = (next + 1) % groupSize;
  }
  return Status::ok();
}

bool GroupControl::hasLeft(int peer) const {
  return RankState(block(peer).state.load(std::memory_order_acquire)) ==
         RankState::Left;
}

Status GroupControl::checkAlive(int peer) const {
  if (hasLeft(peer))
    return makeError(MOERT_PEER_FAILED, "rank %d has left the group", peer)
        .aboutPeer(peer)
        .expecting("", "leaving the group");
  return checkProcess(peer);
}

bool GroupControl::hasProcessEnded(int peer) const {
  pollfd process{peerProcesses[peer].get(), POLLIN, 0};
  return process.fd >= 0 && poll(&process, 1, 0) > 0;
}

Status GroupControl::diedOn(int peer, const std::string &where) const {
  std::string seen = lastSeen(peer);
  return makeError(MOERT_PEER_FAILED, "rank %d (process %d%s) died %s", peer,
                   int(block(peer).pid.load()), where.c_str(), seen.c_str())
      .aboutPeer(peer)
      .expecting("", "died " + seen);
}

Status GroupControl::checkProcess(int peer) const {
  if (!isFar(peer))
    return hasProcessEnded(peer) ? diedOn(peer, "") : Status::ok();
  int host = hosts.hostOf(peer);
  switch (RankFate(block(peer).fate.load(std::memory_order_acquire))) {
  case RankFate::Died:
    return diedOn(peer, " on " + hosts.nameOf(host));
  case RankFate::Lost:
    return Status(MOERT_PEER_FAILED,
                  block(hosts.leaderOf(peer)).lostText.load())
        .aboutPeer(peer)
        .expecting("", "lost host " + hosts.describe(host));
  case RankFate::Well:
    break;
  }
  // Nothing is heard of other hosts without the leader of this one.
  int leader = hosts.leaderOf(myRank);
  if (leader == myRank || hasLeft(leader) || !hasProcessEnded(leader))
    return Status::ok();
  Status error = diedOn(leader, "");
  return error.withMessage(error.message() +
                           format("; it was in touch with other hosts, such as "
                                  "that of rank %d",
                                  peer));
}

Status GroupControl::nameDeath(const Status &lost) const {
  if (lost.code() != MOERT_PEER_FAILED || lost.details().peer >= 0)
    return lost;
  // A connection of the transport mostly closes before the group hears of it.
  for (Deadline deadline(1.0); !deadline.isOver() && groupError().isOk();) {
    for (int peer = 0; peer < groupSize; ++peer)
      if (Status died = checkProcess(peer); !died.isOk())
        return died.withMessage(died.message() + "; " + lost.message());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return lost;
}
