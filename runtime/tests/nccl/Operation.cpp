//===- Operation.cpp - sends and receives of the stand-in -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>

using namespace moe::standin;

namespace {
/// Comes before the bytes of each message.
struct Header {
  uint64_t bytes;
  uint64_t isGather;
};

/// Messages in one direction between this rank and another one, in order.
struct Lane {
  Segment::Ring *ring;
  std::vector<Message> messages;
  size_t current = 0;
  size_t moved = 0; ///< bytes of the current one, with its header
  Header header{};

  bool isDone() const { return current == messages.size(); }
};
} // namespace

/// Copies between a ring, from its position on, and memory.
static void copyRing(Segment::Ring &ring, uint64_t position, char *memory,
                     size_t bytes, bool isWrite) {
  while (bytes) {
    size_t at = position % Segment::ringBytes;
    size_t part = std::min(bytes, Segment::ringBytes - at);
    if (isWrite)
      std::memcpy(ring.bytes + at, memory, part);
    else
      std::memcpy(memory, ring.bytes + at, part);
    position += part;
    memory += part;
    bytes -= part;
  }
}

/// The bytes that are to be moved next: of the header, or of the message.
static std::pair<char *, size_t> nextPart(Lane &lane) {
  const Message &message = lane.messages[lane.current];
  if (lane.moved < sizeof(Header))
    return {reinterpret_cast<char *>(&lane.header) + lane.moved,
            sizeof(Header) - lane.moved};
  size_t done = lane.moved - sizeof(Header);
  return {message.data + done, message.bytes - done};
}

/// Moves what can be moved now. False when that is nothing.
static bool advance(Comm &comm, Lane &lane) {
  const Message &message = lane.messages[lane.current];
  bool isSend = message.isSend;
  if (isSend && lane.moved == 0)
    lane.header = {message.bytes, message.isGather};
  Segment::Ring &ring = *lane.ring;
  uint64_t written = ring.numWritten.load(std::memory_order_acquire);
  uint64_t read = ring.numRead.load(std::memory_order_acquire);
  size_t room = isSend ? Segment::ringBytes - (written - read) : written - read;
  auto [memory, wanted] = nextPart(lane);
  size_t part = std::min(room, wanted);
  if (wanted && !part)
    return false;
  copyRing(ring, isSend ? written : read, memory, part, isSend);
  auto &counter = isSend ? ring.numWritten : ring.numRead;
  counter.store((isSend ? written : read) + part, std::memory_order_release);
  lane.moved += part;
  if (!isSend && lane.moved == sizeof(Header) &&
      (lane.header.bytes != message.bytes ||
       lane.header.isGather != uint64_t(message.isGather))) {
    comm.fail(invalidUsage, "rank " + std::to_string(message.peer) + " sends " +
                                std::to_string(lane.header.bytes) +
                                " bytes, but rank " +
                                std::to_string(comm.rank) + " expects " +
                                std::to_string(message.bytes));
    return false;
  }
  if (lane.moved == sizeof(Header) + message.bytes) {
    lane.moved = 0;
    ++lane.current;
  }
  return true;
}

/// Runs on the thread of a stream.
void Operation::run() {
  ++comm->numRunning;
  if (breaks)
    comm->fail(remoteError, "stand-in: the connection of rank " +
                                std::to_string(comm->rank) + " is lost");
  move();
  --comm->numRunning;
  if (isCounted)
    --comm->numQueued;
}

/// Whether the process of a rank has ended: a connection closes then, which
/// NCCL notices before anybody else may.
static bool hasEnded(Comm &comm, int rank) {
  int32_t process = comm.shared().member(rank).process;
  return process != 0 && kill(process, 0) != 0 && errno == ESRCH;
}

void Operation::move() {
  std::map<std::pair<bool, int>, Lane> lanes;
  for (const Message &message : messages) {
    Lane &lane = lanes[{message.isSend, message.peer}];
    lane.ring = message.isSend ? &comm->shared().ring(comm->rank, message.peer)
                               : &comm->shared().ring(message.peer, comm->rank);
    lane.messages.push_back(message);
  }
  bool isDone = false;
  while (!comm->isAborted() && !isDone) {
    bool hasMoved = false;
    isDone = !neverEnds;
    // After an error nothing goes on, until the communicator is aborted.
    bool isBroken = comm->state() != success && comm->state() != inProgress;
    for (auto &[key, lane] : lanes) {
      if (!neverEnds && !isBroken && !lane.isDone())
        hasMoved |= advance(*comm, lane);
      isDone &= lane.isDone();
    }
    if (hasMoved || isDone)
      continue;
    // A rank may end once it has sent all. What it sent last is looked for
    // after its end has been noticed.
    for (auto &[key, lane] : lanes) {
      if (isBroken || hasMoved || lane.isDone() || !hasEnded(*comm, key.second))
        continue;
      hasMoved = !neverEnds && advance(*comm, lane);
      if (!hasMoved)
        comm->fail(remoteError, "stand-in: connection closed by remote peer");
    }
    if (hasMoved)
      continue;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}
