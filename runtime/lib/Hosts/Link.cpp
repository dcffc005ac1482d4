//===- Link.cpp - the thread that talks to other hosts --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Link.h"

#include "../Core/SignalsBlocked.h"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <system_error>
#include <unistd.h>

using namespace moe::rt;

/// How often what nobody rang for is sent, in a small group and at most. What
/// rank 0 hands on grows with the product of ranks and hosts.
static constexpr int64_t progressNs = 200000000, mostProgressNs = 5000000000;
/// How often a host that has nothing new says so.
static constexpr int64_t beatNs = 200000000;
/// How long the last words may take.
static constexpr double farewellSeconds = 1;

Link::Link(const HostLinkSetup &setup, std::vector<UniqueFd> sockets)
    : hosts(setup.hosts), myHost(hosts.hostOf(setup.bootstrap.rank())),
      memory(setup.memory), bell(setup.bell), processes(setup.processes),
      lastSeen(setup.lastSeen),
      silence(silenceSeconds(setup.bootstrap.timeoutSeconds())) {
  int ranks = memory->size;
  // Whoever makes the link has joined.
  for (int rank = 0; rank < ranks; ++rank)
    if (!isLocal(rank))
      memory->ranks()[rank].state.store(uint32_t(RankState::Idle),
                                        std::memory_order_release);
  latest.resize(ranks);
  hasDied.resize(ranks);
  isLost.resize(hosts.numHosts());
  for (size_t i = 0; i < sockets.size(); ++i)
    if (sockets[i].isValid())
      neighbours.push_back({static_cast<int>(i),
                            LinkConnection(std::move(sockets[i])),
                            std::vector<uint64_t>(ranks)});
  progress = std::clamp(progressNs * ranks * hosts.numHosts() / 4096,
                        progressNs, mostProgressNs);
}

Status Link::start() {
  try {
    SignalsBlocked guard;
    thread = std::thread([this] { serve(); });
  } catch (const std::system_error &error) {
    return makeOsError(MOERT_IO, error.code().value(),
                       "cannot start the thread that talks to other hosts");
  }
  return Status::ok();
}

void Link::ring() {
  uint64_t one = 1;
  ssize_t written = write(bell, &one, sizeof(one));
  (void)written;
}

//===----------------------------------------------------------------------===//
// The thread
//===----------------------------------------------------------------------===//

void Link::serve() {
  try {
    for (;;) {
      std::vector<pollfd> entries{{bell, POLLIN, 0}};
      {
        std::lock_guard<std::mutex> lock(mutex);
        for (Neighbour &other : neighbours)
          if (other.connection.isOpen())
            entries.push_back(
                {other.connection.fd(),
                 short(other.connection.hasOutput() ? POLLIN | POLLOUT
                                                    : POLLIN),
                 0});
      }
      (void)poll(entries.data(), entries.size(), WaitClock::sliceMs);
      bool isRung = entries[0].revents & POLLIN;
      if (isRung) {
        uint64_t rings;
        ssize_t got = read(bell, &rings, sizeof(rings));
        (void)got;
      }
      std::lock_guard<std::mutex> lock(mutex);
      turn(isRung);
      if (isLeaving && mayEnd()) {
        sayGoodbye();
        return;
      }
    }
  } catch (...) {
    // Out of memory: closed connections tell the other hosts, and ranks of this
    // one find their time up.
    std::lock_guard<std::mutex> lock(mutex);
    for (Neighbour &other : neighbours)
      other.connection.close();
  }
}

void Link::turn(bool isRung) {
  int64_t now = nowNs();
  for (int rank : hosts.ranksOf(myHost)) {
    pollfd process{processes[rank], POLLIN, 0};
    if (process.fd < 0 || hasDied[rank] || poll(&process, 1, 0) <= 0)
      continue;
    hasDied[rank] = true;
    lookAt(rank);
  }
  if (now >= nextProgress) {
    nextProgress = now + progress;
    look(/*onlyUrgent=*/false);
  } else if (isRung) {
    look(/*onlyUrgent=*/true);
  }
  // First what comes, then what goes, so that rank 0 hands it on at once.
  for (Neighbour &other : neighbours)
    if (other.connection.isOpen())
      exchange(other);
  for (Neighbour &other : neighbours)
    if (other.connection.isOpen())
      fill(other);
}

/// Notes what the ranks of this host have published.
void Link::look(bool onlyUrgent) {
  for (int rank : hosts.ranksOf(myHost)) {
    uint64_t urgent =
        memory->ranks()[rank].urgent.load(std::memory_order_acquire);
    if (!onlyUrgent || urgent != latest[rank].urgent) {
      latest[rank].urgent = urgent;
      lookAt(rank);
    }
  }
}

void Link::lookAt(int rank) {
  std::string bytes = RankSnapshot::read(*memory, rank, hasDied[rank]).encode();
  if (bytes == latest[rank].bytes)
    return;
  latest[rank].bytes = std::move(bytes);
  ++latest[rank].version;
}

/// What this neighbour has not been sent. Old news are skipped when it is slow.
void Link::fill(Neighbour &to) {
  if (!to.connection.hasOutput()) {
    for (int rank = 0; rank < memory->size; ++rank) {
      // Rank 0 hears of a host from the host alone.
      bool isWanted = isHub() ? hosts.hostOf(rank) != to.host : isLocal(rank);
      if (!isWanted || latest[rank].version == to.sent[rank])
        continue;
      to.sent[rank] = latest[rank].version;
      to.connection.queue(LinkFrame::Rank, latest[rank].bytes);
    }
    int64_t now = nowNs();
    if (to.connection.hasOutput() || now >= to.nextBeat) {
      if (!to.connection.hasOutput())
        to.connection.queue(LinkFrame::Beat, {});
      to.nextBeat = now + beatNs;
    }
  }
  if (Status s = to.connection.flush(); !s.isOk())
    lose(to.host, s.message());
}

void Link::exchange(Neighbour &other) {
  Status status = other.connection.receive(
      [&](LinkFrame::Kind kind, std::string_view payload) {
        take(other, kind, payload);
      });
  if (!other.connection.isOpen())
    return;
  if (status.isOk() && other.connection.isSilentFor(silence))
    status =
        makeError(MOERT_PEER_FAILED, "has brought nothing for %g s", silence);
  if (!status.isOk())
    lose(other.host, status.message());
}

//===----------------------------------------------------------------------===//
// The end
//===----------------------------------------------------------------------===//

/// Nobody needs the link any more, or has needed it for long enough.
bool Link::mayEnd() {
  if (grace.isOver() ||
      memory->group().origin.load(std::memory_order_acquire) != 0)
    return true;
  if (!haveLeft(hosts.ranksOf(myHost)))
    return false;
  return !isHub() ||
         std::none_of(neighbours.begin(), neighbours.end(),
                      [](const Neighbour &n) { return n.connection.isOpen(); });
}

void Link::sayGoodbye() {
  look(/*onlyUrgent=*/false);
  Deadline farewell(farewellSeconds);
  auto waitFor = [&](Neighbour &other, short events) {
    pollfd entry{other.connection.fd(), events, 0};
    (void)poll(&entry, 1, farewell.sliceMs());
  };
  for (Neighbour &other : neighbours) {
    LinkConnection &connection = other.connection;
    // What it has not been sent goes before the goodbye.
    for (; connection.isOpen() && connection.hasOutput() && !farewell.isOver();
         waitFor(other, POLLOUT))
      if (!connection.flush().isOk())
        connection.close();
    if (connection.isOpen())
      fill(other);
    if (connection.isOpen())
      connection.queue(LinkFrame::Goodbye, {});
  }
  // A socket that is closed before all has been read takes back what the other
  // end has not read.
  for (Neighbour &other : neighbours)
    for (LinkConnection &connection = other.connection;
         connection.isOpen() && !farewell.isOver();
         waitFor(other, connection.hasOutput() ? POLLOUT : POLLIN)) {
      bool isBroken = !connection.flush().isOk();
      if (!connection.hasOutput())
        connection.endOutput();
      isBroken |=
          !connection.receive([](LinkFrame::Kind, std::string_view) {}).isOk();
      if (isBroken)
        connection.close();
    }
  for (Neighbour &other : neighbours)
    other.connection.close();
}

void Link::leave() {
  if (!thread.joinable())
    return;
  {
    std::lock_guard<std::mutex> lock(mutex);
    grace = Deadline(graceSeconds);
    isLeaving = true;
  }
  ring();
  thread.join();
}
