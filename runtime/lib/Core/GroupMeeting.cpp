//===- GroupMeeting.cpp - operations that all ranks do together -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ControlBlock.h"
#include "moe-runtime/GroupControl.h"

#include <algorithm>
#include <chrono>
#include <thread>

using namespace moe::rt;

/// A wait for all other ranks to come to one point of a group operation.
struct GroupControl::Meeting {
  std::atomic<uint64_t> RankBlock::*counter;
  uint64_t ordinal;
  double timeoutSeconds;
  WaitClock clock;

  bool hasCome(const RankBlock &block) const {
    return (block.*counter).load(std::memory_order_acquire) >= ordinal;
  }
};

bool GroupControl::waitForPeer(int peer, Meeting &meeting,
                               Status &error) const {
  auto hasArrived = [&] { return meeting.hasCome(block(peer)); };
  int next = 0;
  int64_t sleepUs = 50;
  for (int spins = 0; !hasArrived(); ++spins) {
    if (spins < 100) {
      std::this_thread::yield();
      continue;
    }
    error = checkSome(peer, next);
    if (error.isOk())
      error = checkAlive(peer);
    if (!error.isOk())
      return hasArrived() && originRank() < 0;
    if (meeting.clock.hasPassed(meeting.timeoutSeconds)) {
      error = Status(MOERT_TIMEOUT, "");
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(sleepUs));
    sleepUs = std::min<int64_t>(2 * sleepUs, 1000);
  }
  return true;
}

Status GroupControl::missing(const GroupOp &op, const Meeting &meeting) const {
  std::vector<int> absent;
  std::string seen;
  for (int r = 0; r < groupSize; ++r)
    if (!meeting.hasCome(block(r))) {
      absent.push_back(r);
      seen += format("; rank %d was last seen %s", r, lastSeen(r).c_str());
    }
  return makeError(MOERT_TIMEOUT,
                   "rank %d: %s: timed out after %g s waiting for %s to "
                   "arrive%s",
                   myRank, op.text.c_str(), meeting.timeoutSeconds,
                   listRanks(absent).c_str(), seen.c_str())
      .aboutPeer(absent.empty() ? -1 : absent.front())
      .expecting(op.text, absent.empty() ? "" : lastSeen(absent.front()));
}

Status GroupControl::meet(const GroupOp &op, Meeting &meeting) const {
  for (int peer = 0; peer < groupSize; ++peer) {
    Status error;
    if (waitForPeer(peer, meeting, error))
      continue;
    if (originRank() >= 0 || error.code() == MOERT_COLLECTIVE_MISMATCH)
      return error;
    if (error.code() == MOERT_TIMEOUT)
      return missing(op, meeting);
    return error.withPrefix(format("rank %d: %s", myRank, op.text.c_str()));
  }
  return Status::ok();
}

/// An error that keeps some rank from taking part.
Status GroupControl::localErrors(const GroupOp &op, uint64_t ordinal) const {
  if (!op.local.isOk())
    return op.local;
  for (int peer = 0; peer < groupSize; ++peer) {
    const GroupOpRecord &record =
        block(peer).groupOpRing[ordinal % RankBlock::groupOpSlots];
    if (record.ordinal.load(std::memory_order_acquire) == ordinal &&
        record.localError.code.load(std::memory_order_acquire)) {
      Status theirs = record.localError.load();
      return makeError(MOERT_PEER_FAILED,
                       "rank %d: %s: another rank failed: %s", myRank,
                       op.text.c_str(), theirs.message().c_str())
          .causedBy(theirs)
          .of(myRank, peer);
    }
  }
  return Status::ok();
}

Status GroupControl::agree(const GroupOp &op, double timeoutSeconds,
                           bool &raised) {
  raised = true;
  RankBlock &mine = block(myRank);
  uint64_t ordinal = mine.groupOps.load(std::memory_order_relaxed);
  Meeting meeting{&RankBlock::groupOps, ordinal, timeoutSeconds, WaitClock()};
  ring();
  Status status = meet(op, meeting);
  if (status.isOk())
    status = checkGroup();
  if (!status.isOk())
    return status;
  Status local = localErrors(op, ordinal);
  if (!hosts.isOneHost()) {
    // Other hosts see a rank's last operation alone. So nobody begins another
    // one before all have seen this one.
    mine.groupOpsCompared.store(ordinal, std::memory_order_release);
    ring();
    meeting.counter = &RankBlock::groupOpsCompared;
    if (Status s = meet(op, meeting); !s.isOk())
      return s;
  }
  raised = false;
  return local;
}
