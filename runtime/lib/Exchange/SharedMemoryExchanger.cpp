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
/// The rings of a rank take 1 MiB together for 4 to 1024 ranks, less for fewer
/// ranks and more for more; the words beside them 64 bytes per rank. With 64
/// ranks that is 65 MiB in all. It is allocated with the first artifact that
/// exchanges messages.
///
//===----------------------------------------------------------------------===//

#include "moe-runtime/Exchanger.h"
#include "moe-runtime/Futex.h"
#include "moe-runtime/SymmetricHeap.h"
#include "moe-runtime/WaitPace.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>

using namespace moe::rt;

namespace {
/// What one rank tells another, which owns the memory. The words count bytes
/// since the last reset.
struct alignas(64) PairWords {
  std::atomic<uint64_t> arrived; ///< written to the teller's ring here
  std::atomic<uint64_t> taken;   ///< taken from the owner's ring over there
};

/// How a rank sleeps until another one has moved something.
struct alignas(64) Doorbell {
  std::atomic<uint32_t> isAwaited;
  std::atomic<uint32_t> rings; ///< a futex
};

/// What every message begins with.
struct Header {
  uint64_t operation;
  uint64_t bytes; ///< behind the header
};

/// The memory of all ranks.
class Rings {
public:
  Rings(const SymmetricHeap &heap, char *mine, int ranks)
      : base(mine - heap.stride() * heap.rank()), stride(heap.stride()),
        ranks(size_t(ranks)), ringBytes(ringBytesFor(ranks)) {}

  static size_t ringBytesFor(int ranks) {
    constexpr size_t mostOfRank = size_t(1) << 20, least = 1024;
    size_t bytes = size_t(256) << 10;
    while (bytes > least && bytes * size_t(ranks) > mostOfRank)
      bytes /= 2;
    return bytes;
  }
  static size_t bytesFor(int ranks) {
    return sizeof(Doorbell) +
           (sizeof(PairWords) + ringBytesFor(ranks)) * size_t(ranks);
  }

  Doorbell &doorbell(int owner) const {
    return *reinterpret_cast<Doorbell *>(base + stride * owner);
  }
  /// What `teller` tells `owner`.
  PairWords &words(int owner, int teller) const {
    return reinterpret_cast<PairWords *>(&doorbell(owner) + 1)[teller];
  }

  size_t capacity() const { return ringBytes; }
  /// Bytes that are worth a signal.
  size_t chunkBytes() const { return ringBytes / 4; }

  /// To and from the ring that `sender` fills for `owner`, at any position of
  /// its stream.
  void write(int owner, int sender, uint64_t position, const char *from,
             size_t bytes) const {
    forParts(owner, sender, position, bytes, [&](char *ring, size_t part) {
      std::memcpy(ring, from, part);
      from += part;
    });
  }
  void read(int owner, int sender, uint64_t position, char *to,
            size_t bytes) const {
    forParts(owner, sender, position, bytes, [&](char *ring, size_t part) {
      std::memcpy(to, ring, part);
      to += part;
    });
  }

private:
  template <typename Copy>
  void forParts(int owner, int sender, uint64_t position, size_t bytes,
                Copy copy) const {
    char *ring = reinterpret_cast<char *>(&words(owner, int(ranks))) +
                 ringBytes * size_t(sender);
    size_t at = size_t(position % ringBytes);
    size_t first = std::min(bytes, ringBytes - at);
    copy(ring + at, first);
    if (first < bytes)
      copy(ring, bytes - first);
  }

  char *base;
  int64_t stride;
  size_t ranks, ringBytes;
};

/// One direction of a pair of ranks.
struct Stream {
  uint64_t position = 0; ///< bytes moved by this rank
  uint64_t known = 0;    ///< bytes that the other rank was seen to have moved

  // The message of the running exchange.
  bool isBegun = false; ///< the header has been moved
  uint64_t bytes = 0;   ///< that the message has behind its header
  uint64_t left = 0;    ///< of these
  size_t buffer = 0;    ///< which one is moved next
  size_t offset = 0;    ///< in the rows of that buffer

  void begin(uint64_t message) {
    isBegun = false;
    bytes = left = message;
    buffer = offset = 0;
  }
};

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

  Status allGather(const void *send, void *recv, size_t bytes,
                   const StreamRef &stream, ExchangeGuard &guard) override {
    return exchange(
        {{static_cast<const char *>(send), zeros.data(), ones.data(),
          static_cast<char *>(recv), numbers.data(), ones.data(), bytes}},
        stream, guard);
  }
  Status allToAll(const void *send, void *recv, size_t bytes,
                  const StreamRef &stream, ExchangeGuard &guard) override {
    return exchange(
        {{static_cast<const char *>(send), numbers.data(), ones.data(),
          static_cast<char *>(recv), numbers.data(), ones.data(), bytes}},
        stream, guard);
  }
  Status exchange(const std::vector<RowExchange> &rows, const StreamRef &stream,
                  ExchangeGuard &guard) override;

  Status reset(Bootstrap &bootstrap) override;

private:
  using Rows = std::vector<RowExchange>;

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
  void ring(int peer);
  int nextAwaited();

  Rings rings;
  WaitPace::Limits limits;
  int rank, size;
  uint64_t operation = 0;
  std::vector<Stream> outgoing, incoming; ///< per rank
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

/// Calls `copy` for the next `bytes` bytes of a message, piece by piece, where
/// `piece(i)` is the address and size of its part of buffer i.
template <typename Piece, typename Copy>
static void forPieces(Stream &stream, size_t bytes, Piece piece, Copy copy) {
  stream.left -= bytes;
  while (bytes > 0) {
    auto [start, pieceBytes] = piece(stream.buffer);
    size_t part = std::min(bytes, pieceBytes - stream.offset);
    if (part > 0)
      copy(start + stream.offset, part);
    stream.position += part;
    stream.offset += part;
    bytes -= part;
    if (stream.offset < pieceBytes)
      continue;
    ++stream.buffer;
    stream.offset = 0;
  }
}

static std::pair<const char *, size_t> sentPiece(const RowExchange &rows,
                                                 int peer) {
  return {rows.send + rows.rowBytes * size_t(rows.sendStarts[peer]),
          rows.rowBytes * size_t(rows.sendCounts[peer])};
}

static std::pair<char *, size_t> receivedPiece(const RowExchange &rows,
                                               int peer) {
  return {rows.recv + rows.rowBytes * size_t(rows.recvStarts[peer]),
          rows.rowBytes * size_t(rows.recvCounts[peer])};
}

/// Bytes that can be written to the ring of `peer`.
size_t SharedMemoryExchanger::room(int peer) {
  Stream &out = outgoing[peer];
  out.known = rings.words(rank, peer).taken.load(std::memory_order_acquire);
  return rings.capacity() - size_t(out.position - out.known);
}

/// Bytes that are sent next to `peer` at least. Small rests wait for more room,
/// unless they are the end.
size_t SharedMemoryExchanger::wantedRoom(int peer) const {
  const Stream &out = outgoing[peer];
  size_t chunk = rings.chunkBytes();
  return out.isBegun ? size_t(std::min<uint64_t>(out.left, chunk)) : chunk;
}

/// Bytes that `peer` has written and this rank has not taken.
uint64_t SharedMemoryExchanger::available(int peer) {
  Stream &in = incoming[peer];
  in.known = rings.words(rank, peer).arrived.load(std::memory_order_acquire);
  return in.known - in.position;
}

/// Writes what has room.
bool SharedMemoryExchanger::send(const Rows &rows, int peer) {
  Stream &out = outgoing[peer];
  size_t space = room(peer);
  if (space < wantedRoom(peer))
    return false;
  if (!out.isBegun) {
    Header header{operation, out.bytes};
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
    ring(peer);
  return hasMoved;
}

/// What `peer` sends has to be what this rank expects.
Status SharedMemoryExchanger::takeHeader(int peer) {
  Stream &in = incoming[peer];
  Header header;
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
  Stream &in = incoming[peer];
  uint64_t there = available(peer);
  if (there == 0)
    return Status::ok();
  if (!in.isBegun) {
    if (Status s = takeHeader(peer); !s.isOk())
      return s;
    there -= sizeof(Header);
  }
  forPieces(
      in, size_t(std::min(there, in.left)),
      [&](size_t i) { return receivedPiece(rows[i], peer); },
      [&](char *to, size_t bytes) {
        rings.read(rank, peer, in.position, to, bytes);
      });
  rings.words(peer, rank).taken.store(in.position, std::memory_order_release);
  ring(peer);
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
  auto drop = [](std::vector<int> &peers, const std::vector<Stream> &streams) {
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
  rings.doorbell(rank).isAwaited = 0;
  for (int peer = 0; peer < size; ++peer) {
    PairWords &words = rings.words(rank, peer);
    words.arrived = 0;
    words.taken = 0;
    outgoing[peer] = incoming[peer] = Stream();
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

/// This rank marks its doorbell and then looks at the words; who has moved
/// something looks at the mark afterwards. Both reach it by read-modify-write,
/// so whoever comes later sees what the other one did before.
void SharedMemoryExchanger::sleep(int64_t mostNs) {
  Doorbell &mine = rings.doorbell(rank);
  uint32_t before = mine.rings.load(std::memory_order_acquire);
  mine.isAwaited.exchange(1, std::memory_order_acq_rel);
  if (!canMove())
    (void)futexWait(mine.rings, before, mostNs);
  mine.isAwaited.store(0, std::memory_order_release);
}

void SharedMemoryExchanger::ring(int peer) {
  Doorbell &theirs = rings.doorbell(peer);
  if (theirs.isAwaited.fetch_or(0, std::memory_order_acq_rel) != 0)
    futexWake(theirs.rings);
}

Expected<std::unique_ptr<Exchanger>>
moe::rt::createSharedMemoryExchanger(const ExchangerSetup &setup) {
  int rank = setup.bootstrap.rank(), size = setup.bootstrap.size();
  size_t bytes = Rings::bytesFor(size);
  auto memory = setup.heap.allocate(bytes);
  if (!memory.isOk())
    return memory.status().withPrefix(
        format("%zu bytes for messages between %d ranks", bytes, size));
  return std::unique_ptr<Exchanger>(
      new SharedMemoryExchanger(setup.heap, *memory, rank, size));
}
