//===- SharedMemoryExchanger.cpp - messages in shared memory --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each rank has a ring in the symmetric memory of every other rank. A message
/// is a header and the rows of all buffers, as one stream of bytes through the
/// ring of its pair: the sender writes bytes and then says up to where (release
/// order), the receiver takes them and then says so (release order), and each
/// reads the other's word before it goes on (acquire order). So messages of any
/// size go through little memory. A rank moves whatever it can of all its
/// messages, in both directions, before it waits, so that no order of messages
/// can lead ranks to wait for each other. A message without bytes is not sent.
///
//===----------------------------------------------------------------------===//

#include "MessageStream.h"
#include "SharedRings.h"
#include "moe-runtime/Exchanger.h"
#include "moe-runtime/Futex.h"
#include "moe-runtime/WaitPace.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace moe::rt;

namespace {
class SharedMemoryExchanger : public Exchanger {
public:
  SharedMemoryExchanger(const SymmetricHeap &heap, char *mine, int rank,
                        int size)
      : rings(heap, mine, size), limits(size), rank(rank), size(size),
        outgoing(size), incoming(size), zeros(size, 0), ones(size, 1),
        numbers(size) {
    std::iota(numbers.begin(), numbers.end(), 0);
  }

  const char *name() const override { return "shared memory"; }

  Status allGather(const std::vector<MessageBuffers> &buffers,
                   const StreamRef &stream, ExchangeGuard &guard) override {
    return exchange(oneRowEach(buffers, zeros), stream, guard);
  }
  Status allToAll(const std::vector<MessageBuffers> &buffers,
                  const StreamRef &stream, ExchangeGuard &guard) override {
    return exchange(oneRowEach(buffers, numbers), stream, guard);
  }
  Status exchange(const std::vector<RowExchange> &rows, const StreamRef &stream,
                  ExchangeGuard &guard) override;

  Status reset(Bootstrap &bootstrap) override;

private:
  using Rows = std::vector<RowExchange>;

  /// To rank p goes row `sendStarts[p]`, and row s comes from rank s.
  Rows oneRowEach(const std::vector<MessageBuffers> &buffers,
                  const std::vector<int32_t> &sendStarts) const {
    Rows rows;
    for (const MessageBuffers &one : buffers)
      rows.push_back({static_cast<const char *>(one.send), sendStarts.data(),
                      ones.data(), static_cast<char *>(one.recv),
                      numbers.data(), ones.data(), one.bytes});
    return rows;
  }
  void begin(const Rows &rows);
  bool isDone() const { return senders.empty() && receivers.empty(); }
  Status moveAll(const Rows &rows, bool &hasMoved);
  bool send(const Rows &rows, int peer);
  Status receive(const Rows &rows, int peer, bool &hasMoved);
  Status takeHeader(int peer);
  size_t room(int peer);
  size_t wantedRoom(int peer) const;
  uint64_t available(int peer);
  bool canMove();
  void sleep(int64_t mostNs);
  void ring(int peer, bool isHeldUp);
  int nextAwaited();

  SharedRings rings;
  WaitPace::Limits limits;
  int rank, size;
  uint64_t operation = 0;
  std::vector<MessageStream> outgoing, incoming; ///< per rank
  /// Ranks to which, and from which, something of the running exchange has not
  /// been moved yet.
  std::vector<int> receivers, senders;
  size_t asked = 0; ///< about how many ranks the guard has been asked
  /// Tables of all-gathers and all-to-alls.
  std::vector<int32_t> zeros, ones, numbers;
};
} // namespace

//===----------------------------------------------------------------------===//
// Moving bytes
//===----------------------------------------------------------------------===//

/// Bytes that can be written to the ring of `peer`.
size_t SharedMemoryExchanger::room(int peer) {
  MessageStream &out = outgoing[peer];
  out.known = rings.words(rank, peer).taken.load(std::memory_order_acquire);
  return rings.capacity() - size_t(out.position - out.known);
}

/// Bytes that are sent next to `peer` at least. Small rests wait for more room,
/// unless they are the end.
size_t SharedMemoryExchanger::wantedRoom(int peer) const {
  const MessageStream &out = outgoing[peer];
  size_t chunk = rings.chunkBytes();
  return out.isBegun ? size_t(std::min<uint64_t>(out.left, chunk)) : chunk;
}

/// Bytes that `peer` has written and this rank has not taken.
uint64_t SharedMemoryExchanger::available(int peer) {
  MessageStream &in = incoming[peer];
  in.known = rings.words(rank, peer).arrived.load(std::memory_order_acquire);
  return in.known - in.position;
}

/// Writes what has room.
bool SharedMemoryExchanger::send(const Rows &rows, int peer) {
  MessageStream &out = outgoing[peer];
  size_t space = room(peer);
  if (space < wantedRoom(peer))
    return false;
  if (!out.isBegun) {
    MessageHeader header{operation, out.bytes};
    rings.write(peer, rank, out.position, reinterpret_cast<char *>(&header),
                sizeof(header));
    out.position += sizeof(header);
    out.isBegun = true;
    space -= sizeof(header);
  }
  bool hasMoved = false;
  while (out.left > 0 && space >= wantedRoom(peer)) {
    size_t part = wantedRoom(peer);
    forPieces(
        out, part, [&](size_t i) { return sentPiece(rows[i], peer); },
        [&](const char *from, size_t bytes) {
          rings.write(peer, rank, out.position, from, bytes);
        });
    space -= part;
    rings.words(peer, rank)
        .arrived.store(out.position, std::memory_order_release);
    hasMoved = true;
  }
  if (hasMoved)
    ring(peer, /*isHeldUp=*/out.left > 0);
  return hasMoved;
}

/// What `peer` sends has to be what this rank expects.
Status SharedMemoryExchanger::takeHeader(int peer) {
  MessageStream &in = incoming[peer];
  MessageHeader header;
  rings.read(rank, peer, in.position, reinterpret_cast<char *>(&header),
             sizeof(header));
  auto bytes = static_cast<unsigned long long>(header.bytes);
  auto expected = static_cast<unsigned long long>(in.bytes);
  if (header.operation == operation && bytes == expected) {
    in.position += sizeof(header);
    in.isBegun = true;
    return Status::ok();
  }
  Status status;
  if (header.operation == operation)
    status = makeError(MOERT_INVALID_COUNT,
                       "rank %d sends %llu bytes, but rank %d expects %llu",
                       peer, bytes, rank, expected);
  else if (header.operation > operation)
    status = makeError(MOERT_INVALID_COUNT,
                       "rank %d sends nothing, but rank %d expects %llu bytes",
                       peer, rank, expected);
  else
    status = makeError(MOERT_INVALID_COUNT,
                       "rank %d has sent %llu bytes in an earlier exchange, in "
                       "which rank %d expected nothing",
                       peer, bytes, rank);
  return status.aboutPeer(peer).expecting(
      format("%llu bytes", expected),
      header.operation > operation ? "nothing" : format("%llu bytes", bytes));
}

Status SharedMemoryExchanger::receive(const Rows &rows, int peer,
                                      bool &hasMoved) {
  MessageStream &in = incoming[peer];
  uint64_t there = available(peer);
  if (there == 0)
    return Status::ok();
  if (!in.isBegun) {
    if (Status s = takeHeader(peer); !s.isOk())
      return s;
    there -= sizeof(MessageHeader);
  }
  forPieces(
      in, size_t(std::min(there, in.left)),
      [&](size_t i) { return receivedPiece(rows[i], peer); },
      [&](char *to, size_t bytes) {
        rings.read(rank, peer, in.position, to, bytes);
      });
  rings.words(peer, rank).taken.store(in.position, std::memory_order_release);
  ring(peer, /*isHeldUp=*/in.left > 0);
  hasMoved = true;
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// An exchange
//===----------------------------------------------------------------------===//

void SharedMemoryExchanger::begin(const Rows &rows) {
  ++operation;
  senders.clear();
  receivers.clear();
  // Each rank begins with another one.
  for (int i = 1; i < size; ++i) {
    int to = (rank + i) % size, from = (rank + size - i) % size;
    uint64_t sent = 0, received = 0;
    for (const RowExchange &each : rows) {
      sent += sentPiece(each, to).second;
      received += receivedPiece(each, from).second;
    }
    outgoing[to].begin(sent);
    incoming[from].begin(received);
    if (sent > 0)
      receivers.push_back(to);
    if (received > 0)
      senders.push_back(from);
  }
  for (const RowExchange &each : rows)
    if (auto [from, bytes] = sentPiece(each, rank); bytes > 0)
      std::memcpy(receivedPiece(each, rank).first, from, bytes);
}

/// Moves what can be moved now.
Status SharedMemoryExchanger::moveAll(const Rows &rows, bool &hasMoved) {
  hasMoved = false;
  for (int peer : receivers)
    hasMoved |= send(rows, peer);
  for (int peer : senders)
    if (Status s = receive(rows, peer, hasMoved); !s.isOk())
      return s;
  if (!hasMoved)
    return Status::ok();
  auto drop = [](std::vector<int> &peers,
                 const std::vector<MessageStream> &streams) {
    auto isOver = [&](int peer) { return streams[peer].left == 0; };
    peers.erase(std::remove_if(peers.begin(), peers.end(), isOver),
                peers.end());
  };
  drop(receivers, outgoing);
  drop(senders, incoming);
  return Status::ok();
}

Status SharedMemoryExchanger::exchange(const Rows &rows, const StreamRef &,
                                       ExchangeGuard &guard) {
  begin(rows);
  WaitPace pace(limits);
  for (unsigned round = 1; !isDone(); ++round) {
    bool hasMoved = false;
    if (Status s = moveAll(rows, hasMoved); !s.isOk())
      return s;
    if (isDone())
      break;
    bool isTimeToAsk = round % 256 == 0;
    if (hasMoved) {
      pace.restart();
      guard.progressed();
    } else {
      isTimeToAsk |= pace.pause([&](int64_t ns) { sleep(ns); });
    }
    if (!isTimeToAsk)
      continue;
    Status reason = guard.check(nextAwaited());
    if (reason.isOk())
      continue;
    // The rest may have come just before its sender left.
    if (reason.code() != MOERT_PEER_FAILED || !canMove())
      return reason;
  }
  return Status::ok();
}

/// One after the other of those that something is awaited of.
int SharedMemoryExchanger::nextAwaited() {
  const std::vector<int> &peers = senders.empty() ? receivers : senders;
  return peers[asked++ % peers.size()];
}

Status SharedMemoryExchanger::reset(Bootstrap &bootstrap) {
  // Nobody moves anything any more.
  if (Status s = bootstrap.barrier(); !s.isOk())
    return s;
  rings.doorbell(rank).awaited = 0;
  for (int peer = 0; peer < size; ++peer) {
    PairWords &words = rings.words(rank, peer);
    words.arrived = 0;
    words.taken = 0;
    outgoing[peer] = incoming[peer] = MessageStream();
  }
  operation = 0;
  return bootstrap.barrier();
}

//===----------------------------------------------------------------------===//
// Sleep
//===----------------------------------------------------------------------===//

bool SharedMemoryExchanger::canMove() {
  for (int peer : receivers)
    if (room(peer) >= wantedRoom(peer))
      return true;
  for (int peer : senders)
    if (available(peer) > 0)
      return true;
  return false;
}

/// The rank says for which one it sleeps and then looks at the words; who has
/// moved something looks at the doorbell afterwards. Both reach that by
/// read-modify-write, so whoever comes later sees what the other one did
/// before. It sleeps for one rank though it awaits several: each of them would
/// wake it for a part of what it needs, and with more ranks than processors
/// that is most of the work.
void SharedMemoryExchanger::sleep(int64_t mostNs) {
  Doorbell &mine = rings.doorbell(rank);
  int peer = senders.empty() ? receivers.back() : senders.back();
  uint32_t before = mine.rings.load(std::memory_order_acquire);
  mine.awaited.exchange(uint32_t(peer) + 1, std::memory_order_acq_rel);
  if (!canMove())
    (void)futexWait(mine.rings, before, mostNs);
  mine.awaited.store(0, std::memory_order_release);
}

/// Wakes `peer` if it sleeps for this rank, or if the two have more to move,
/// which one of them may be held up by.
void SharedMemoryExchanger::ring(int peer, bool isHeldUp) {
  Doorbell &theirs = rings.doorbell(peer);
  uint32_t awaited = theirs.awaited.fetch_or(0, std::memory_order_acq_rel);
  if (awaited == uint32_t(rank) + 1 || (awaited != 0 && isHeldUp))
    futexWake(theirs.rings);
}

Expected<std::unique_ptr<Exchanger>>
moe::rt::createSharedMemoryExchanger(const ExchangerSetup &setup) {
  int rank = setup.bootstrap.rank(), size = setup.bootstrap.size();
  size_t bytes = SharedRings::bytesFor(size);
  auto memory = setup.heap.allocate(bytes);
  if (!memory.isOk())
    return memory.status().withPrefix(
        format("%zu bytes for messages between %d ranks", bytes, size));
  return std::unique_ptr<Exchanger>(
      new SharedMemoryExchanger(setup.heap, *memory, rank, size));
}
