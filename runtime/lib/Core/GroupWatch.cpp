//===- GroupWatch.cpp - what a waiting rank looks at ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ControlBlock.h"
#include "moe-runtime/GroupControl.h"
#include "moe-runtime/Timings.h"

#include <chrono>
#include <poll.h>
#include <thread>

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// Where ranks are
//===----------------------------------------------------------------------===//

static std::string describeCollective(const RankBlock &block) {
  uint64_t ordinal = block.collectives.load(std::memory_order_acquire);
  const CollectiveRecord &record =
      block.collectiveRing[ordinal % RankBlock::collectiveSlots];
  return record.op.load() + " at " + record.location.load() + ", phase '" +
         block.phase.load() + "'";
}

static std::string describeGroupOp(const RankBlock &block) {
  uint64_t ordinal = block.groupOps.load(std::memory_order_acquire);
  return block.groupOpRing[ordinal % RankBlock::groupOpSlots].text.load();
}

std::string GroupControl::here() const {
  const RankBlock &mine = block(myRank);
  if (mine.state == uint32_t(RankState::InCollective))
    return describeCollective(mine);
  return describeGroupOp(mine);
}

std::string GroupControl::lastSeen(int peer) const {
  const RankBlock &other = block(peer);
  switch (RankState(other.state.load(std::memory_order_acquire))) {
  case RankState::InCollective:
    return "in " + describeCollective(other);
  case RankState::InGroupOp:
    return "outside a collective, in the " + describeGroupOp(other);
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
  bool isFailed = theirs.localCode.load(std::memory_order_acquire) ||
                  ours.localCode.load(std::memory_order_relaxed);
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal || isSame ||
      (isFailed && theirs.kind == ours.kind))
    return Status::ok();
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks do different things: rank %d is in the %s, "
                   "but rank %d is in the %s",
                   myRank, myRank, ours.text.load().c_str(), peer,
                   text.c_str());
}

Status GroupControl::compareCollectives(int peer) const {
  const RankBlock &mine = block(myRank), &other = block(peer);
  if (mine.state.load(std::memory_order_relaxed) !=
      uint32_t(RankState::InCollective))
    return Status::ok();
  uint64_t ordinal = mine.collectives.load(std::memory_order_relaxed);
  size_t slot = ordinal % RankBlock::collectiveSlots;
  const CollectiveRecord &ours = mine.collectiveRing[slot];
  // Read before the count of collectives, which can then only be newer.
  bool hasFinished = other.groupOpsDone.load(std::memory_order_acquire) >=
                     mine.groupOps.load(std::memory_order_relaxed);
  if (other.collectives.load(std::memory_order_acquire) < ordinal) {
    if (!hasFinished)
      return Status::ok();
    return makeError(
        MOERT_COLLECTIVE_MISMATCH,
        "rank %d: ranks call different collectives: rank %d is in "
        "%s, but rank %d has ended the %s without it",
        myRank, myRank, here().c_str(), peer,
        mine.groupOpRing[mine.groupOps.load() % RankBlock::groupOpSlots]
            .text.load()
            .c_str());
  }
  const CollectiveRecord &theirs = other.collectiveRing[slot];
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  bool isSame =
      theirs.site.load(std::memory_order_acquire) == ours.site &&
      theirs.artifact.load(std::memory_order_acquire) == ours.artifact;
  if (isSame)
    return Status::ok();
  std::string op = theirs.op.load(), location = theirs.location.load();
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks call different collectives: rank %d is in "
                   "%s at %s, but rank %d is in %s at %s",
                   myRank, myRank, ours.op.load().c_str(),
                   ours.location.load().c_str(), peer, op.c_str(),
                   location.c_str());
}

Status GroupControl::checkGroup() const {
  if (Status error = groupError(); !error.isOk())
    return error;
  for (int peer = 0; peer < groupSize; ++peer) {
    if (peer == myRank)
      continue;
    if (Status s = compareGroupOps(peer); !s.isOk())
      return s;
    if (Status s = compareCollectives(peer); !s.isOk())
      return s;
  }
  return Status::ok();
}

bool GroupControl::hasLeft(int peer) const {
  return RankState(block(peer).state.load(std::memory_order_acquire)) ==
         RankState::Left;
}

Status GroupControl::checkAlive(int peer) const {
  if (hasLeft(peer))
    return makeError(MOERT_PEER_FAILED, "rank %d has left the group", peer);
  return checkProcess(peer);
}

Status GroupControl::checkProcess(int peer) const {
  if (!peerProcesses[peer].isValid())
    return Status::ok();
  pollfd process{peerProcesses[peer].get(), POLLIN, 0};
  if (poll(&process, 1, 0) <= 0)
    return Status::ok();
  return makeError(MOERT_PEER_FAILED, "rank %d (process %d) died %s", peer,
                   int(block(peer).pid.load()), lastSeen(peer).c_str());
}

bool GroupControl::waitForGroupOp(int peer, uint64_t ordinal,
                                  int64_t deadlineNs, Status &error) const {
  auto hasArrived = [&] {
    return block(peer).groupOps.load(std::memory_order_acquire) >= ordinal;
  };
  for (int spins = 0; !hasArrived(); ++spins) {
    if (spins < 100) {
      std::this_thread::yield();
      continue;
    }
    error = checkGroup();
    if (error.isOk())
      error = checkAlive(peer);
    if (!error.isOk())
      return hasArrived() && originRank() < 0;
    if (nowNs() > deadlineNs) {
      error = Status(MOERT_TIMEOUT, "");
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

Status GroupControl::agree(const GroupOp &op, double timeoutSeconds,
                           bool &raised) {
  raised = true;
  uint64_t ordinal = block(myRank).groupOps.load(std::memory_order_relaxed);
  int64_t deadline = nowNs() + int64_t(timeoutSeconds * 1e9);
  for (int peer = 0; peer < groupSize; ++peer) {
    Status error;
    if (waitForGroupOp(peer, ordinal, deadline, error))
      continue;
    if (originRank() >= 0 || error.code() == MOERT_COLLECTIVE_MISMATCH)
      return error;
    if (error.code() == MOERT_TIMEOUT) {
      std::vector<int> missing;
      std::string seen;
      for (int r = 0; r < groupSize; ++r)
        if (block(r).groupOps.load(std::memory_order_acquire) < ordinal) {
          missing.push_back(r);
          seen += format("; rank %d was last seen %s", r, lastSeen(r).c_str());
        }
      return makeError(MOERT_TIMEOUT,
                       "rank %d: %s: timed out after %g s waiting for %s to "
                       "arrive%s",
                       myRank, op.text.c_str(), timeoutSeconds,
                       listRanks(missing).c_str(), seen.c_str());
    }
    return makeError(error.code(), "rank %d: %s: %s", myRank, op.text.c_str(),
                     error.message().c_str());
  }
  if (Status s = checkGroup(); !s.isOk())
    return s;
  raised = false;
  if (!op.local.isOk())
    return op.local;
  for (int peer = 0; peer < groupSize; ++peer) {
    const GroupOpRecord &record =
        block(peer).groupOpRing[ordinal % RankBlock::groupOpSlots];
    if (record.ordinal.load(std::memory_order_acquire) == ordinal &&
        record.localCode.load(std::memory_order_acquire))
      return makeError(MOERT_PEER_FAILED,
                       "rank %d: %s: another rank failed: %s", myRank,
                       op.text.c_str(), record.localError.load().c_str());
  }
  return Status::ok();
}
