//===- Messenger.cpp - bytes between ranks, in bounded messages -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MessagePool.h"

#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <cstring>

#include <ctime>
#include <optional>

using namespace moe::rt;
using namespace moe::rt::mpi;

/// MPI ends a send of its own before the receiver has all of a message, whose
/// rest may move no further until the sender calls MPI again: a connection is
/// not there yet, or full. That may be much later, and the receiver waits for
/// it. So small messages are sent synchronously, and of larger ones, which MPI
/// moves in several steps, the receiver sends a receipt.
static constexpr size_t smallBytes = 4000;
/// How long messages of a rank that is gone may be under way without any that
/// comes.
static constexpr double lastWordsSeconds = 0.5;

/// One transfer.
class Messenger::Run {
public:
  Run(Messenger &messenger, const std::vector<Outbound> &sends,
      const std::vector<Inbound> &receives, int tag, bool isReceipt,
      Watch &watch)
      : communicator(messenger.communicator), mpi(communicator.mpi()),
        pool(*messenger.pool), sends(sends), receives(receives), tag(tag),
        isReceipt(isReceipt), watch(watch), pace(messenger.limits) {}

  /// Until everything is transferred, or an error.
  Status finish();
  /// Gives up what is under way, as far as MPI lets it. Whether some of it is
  /// left.
  bool cancel();

private:
  /// Begins what there is room for, and ends what has come. Whether anything
  /// has happened.
  Expected<bool> step();
  bool isDone() const {
    return !nextSend && !nextReceive && pool.out.numUnderWay() == 0 &&
           pool.in.numUnderWay() == 0;
  }
  /// The first rank that something is to come from, or go to.
  int awaited() const;
  template <typename Piece>
  static std::optional<MessageChunk> advance(const std::vector<Piece> &pieces,
                                             std::optional<MessageChunk> last);
  Status post(bool &any);
  Expected<size_t> complete(MessageDirection &direction);
  Status checkReceived(const MessageChunk &chunk,
                       const MessageStatus &status) const;

  Communicator &communicator;
  const Library &mpi;
  MessagePool &pool;
  const std::vector<Outbound> &sends;
  const std::vector<Inbound> &receives;
  int tag;
  bool isReceipt;
  Watch &watch;
  WaitPace pace;
  std::optional<MessageChunk> nextSend, nextReceive;
  std::vector<int> indices;
  std::vector<MessageStatus> statuses;
};

/// The chunk after `last`; the same at both ends, since they cut alike.
template <typename Piece>
std::optional<MessageChunk>
Messenger::Run::advance(const std::vector<Piece> &pieces,
                        std::optional<MessageChunk> last) {
  MessageChunk next = last.value_or(MessageChunk());
  next.offset += next.bytes;
  while (next.piece < pieces.size() &&
         next.offset == pieces[next.piece].bytes) {
    ++next.piece;
    next.offset = 0;
  }
  if (next.piece == pieces.size())
    return std::nullopt;
  next.bytes = std::min(chunkBytes, pieces[next.piece].bytes - next.offset);
  return next;
}

Status Messenger::Run::post(bool &any) {
  // Receives first: a message that is expected needs no memory of MPI's. There
  // is room for the largest message, since Open MPI 4 may write all of one that
  // is longer than the receive says.
  while (nextReceive) {
    auto slot = pool.in.take(nextReceive->bytes, chunkBytes, mpi.requestNull);
    if (!slot)
      break;
    MessageSlot &used = pool.in.slots[*slot];
    used.chunk = *nextReceive;
    if (Status s = mpi.check(
            mpi.irecv(used.memory.get(), int(chunkBytes), mpi.byte,
                      receives[used.chunk.piece].peer, tag,
                      communicator.handle(), &pool.in.requests[*slot]),
            "MPI_Irecv");
        !s.isOk())
      return s;
    nextReceive = advance(receives, nextReceive);
    any = true;
  }
  while (nextSend) {
    auto slot =
        pool.out.take(nextSend->bytes, nextSend->bytes, mpi.requestNull);
    if (!slot)
      break;
    MessageSlot &used = pool.out.slots[*slot];
    used.chunk = *nextSend;
    const Outbound &piece = sends[used.chunk.piece];
    std::memcpy(used.memory.get(), piece.data + used.chunk.offset,
                used.chunk.bytes);
    bool isSynchronous = !isReceipt && used.chunk.bytes <= smallBytes;
    auto send = isSynchronous ? mpi.issend : mpi.isend;
    if (Status s = mpi.check(
            send(used.memory.get(), int(used.chunk.bytes), mpi.byte, piece.peer,
                 tag, communicator.handle(), &pool.out.requests[*slot]),
            isSynchronous ? "MPI_Issend" : "MPI_Isend");
        !s.isOk())
      return s;
    nextSend = advance(sends, nextSend);
    any = true;
  }
  return Status::ok();
}

Status Messenger::Run::checkReceived(const MessageChunk &chunk,
                                     const MessageStatus &status) const {
  const Inbound &piece = receives[chunk.piece];
  if (status.error == success && status.bytes == chunk.bytes)
    return Status::ok();
  // Pieces are cut alike, so one that is short, or not full, is the last one.
  if (status.error == success)
    return watch.misfit(
        piece.peer, piece.bytes,
        format(status.bytes == chunkBytes ? "at least %zu" : "%zu",
               chunk.offset + status.bytes));
  int rank = watch.rankOf(piece.peer);
  return mpi.check(status.error, "MPI_Irecv")
      .withCode(MOERT_PEER_FAILED)
      .withPrefix(format("a message from rank %d", rank))
      .aboutPeer(rank);
}

/// Ends what has come in one direction. Returns how many messages.
Expected<size_t> Messenger::Run::complete(MessageDirection &direction) {
  if (direction.numUnderWay() == 0)
    return size_t(0);
  int done = 0;
  indices.resize(direction.requests.size());
  statuses.assign(direction.requests.size(), MessageStatus());
  int result =
      mpi.testsome(int(direction.requests.size()), direction.requests.data(),
                   &done, indices.data(), statuses.data());
  if (done == undefined || done < 0)
    done = 0;
  bool isIn = &direction == &pool.in;
  Status status;
  for (int i = 0; i < done; ++i) {
    MessageSlot &slot = direction.slots[indices[i]];
    // The field is only set when some request failed.
    if (result == success)
      statuses[i].error = success;
    Status ended = isIn ? checkReceived(slot.chunk, statuses[i])
                        : mpi.check(statuses[i].error, "MPI_Isend");
    if (isIn && ended.isOk())
      std::memcpy(receives[slot.chunk.piece].data + slot.chunk.offset,
                  slot.memory.get(), slot.chunk.bytes);
    if (status.isOk())
      status = ended;
    direction.giveBack(indices[i]);
  }
  if (status.isOk() && result != success && done == 0)
    status = mpi.check(result, "MPI_Testsome");
  if (!status.isOk())
    return status;
  return size_t(done);
}

Expected<bool> Messenger::Run::step() {
  std::lock_guard<std::mutex> lock(mpi.mutex());
  bool any = false;
  if (Status s = post(any); !s.isOk())
    return s;
  for (MessageDirection *direction : {&pool.in, &pool.out}) {
    auto done = complete(*direction);
    if (!done.isOk())
      return done.status();
    any |= *done > 0;
  }
  return any;
}

int Messenger::Run::awaited() const {
  size_t first = receives.size();
  auto note = [&](const MessageDirection &direction, auto use) {
    std::vector<bool> isFree(direction.slots.size());
    for (size_t slot : direction.free)
      isFree[slot] = true;
    for (size_t i = 0; i < direction.slots.size(); ++i)
      if (!isFree[i])
        use(direction.slots[i].chunk.piece);
  };
  note(pool.in, [&](size_t piece) { first = std::min(first, piece); });
  if (first < receives.size())
    return receives[first].peer;
  first = sends.size();
  note(pool.out, [&](size_t piece) { first = std::min(first, piece); });
  return first < sends.size() ? sends[first].peer : communicator.rank();
}

static void sleepFor(int64_t ns) {
  timespec time{time_t(ns / 1000000000), long(ns % 1000000000)};
  (void)nanosleep(&time, nullptr);
}

Status Messenger::Run::finish() {
  nextSend = advance(sends, std::nullopt);
  nextReceive = advance(receives, std::nullopt);
  std::optional<Deadline> lastWords;
  while (!isDone()) {
    auto any = step();
    if (!any.isOk())
      return any.status();
    if (*any) {
      watch.progressed();
      lastWords.reset();
      pace.restart();
      continue;
    }
    if (!pace.pause(sleepFor))
      continue;
    Status seen = watch.check(awaited());
    if (seen.isOk()) {
      lastWords.reset();
      continue;
    }
    // A rank that has done its part may leave while its messages are under way;
    // news of that take another road, and may be faster.
    if (!lastWords)
      lastWords.emplace(seen.code() == MOERT_PEER_FAILED ? lastWordsSeconds
                                                         : 0);
    if (lastWords->isOver())
      return seen;
  }
  return Status::ok();
}

bool Messenger::Run::cancel() {
  std::lock_guard<std::mutex> lock(mpi.mutex());
  for (Request &request : pool.in.requests)
    if (request != mpi.requestNull)
      (void)mpi.cancel(&request);
  // Those that nobody has begun to send to end now. The rest may never.
  bool isLeft = false;
  for (MessageDirection *direction : {&pool.in, &pool.out})
    for (Request &request : direction->requests) {
      if (request == mpi.requestNull)
        continue;
      int isDone = 0;
      MessageStatus ignored;
      (void)mpi.test(&request, &isDone, &ignored);
      isLeft |= request != mpi.requestNull;
    }
  return isLeft;
}

//===----------------------------------------------------------------------===//
// The messenger
//===----------------------------------------------------------------------===//

/// Messages move in this process's calls of MPI alone, so it never sleeps for
/// long.
static constexpr int64_t firstSleepNs = 20000, longestSleepNs = 500000;

Messenger::Messenger(Communicator &communicator, int ranksHere)
    : communicator(communicator),
      limits(ranksHere, firstSleepNs, longestSleepNs) {}

Messenger::~Messenger() = default;

Messenger::Watch::~Watch() = default;

/// Ends a transfer that has failed. Allocates nothing.
void Messenger::giveUp(Run &run) {
  // Messages that nobody takes any more would come to whoever got its number.
  communicator.leak();
  // What is still under way keeps its memory; the next transfer starts afresh.
  if (run.cancel())
    (void)pool.release();
  pool.reset();
}

/// The ranks with pieces of which a receipt is sent, in the order of the list.
template <typename Piece>
static std::vector<int> findReceipts(const std::vector<Piece> &pieces,
                                     int ranks) {
  std::vector<int> peers;
  std::vector<bool> isFound(ranks);
  for (const Piece &piece : pieces) {
    if (piece.bytes <= smallBytes || isFound[piece.peer])
      continue;
    isFound[piece.peer] = true;
    peers.push_back(piece.peer);
  }
  return peers;
}

Status Messenger::transfer(const std::vector<Outbound> &sends,
                           const std::vector<Inbound> &receives, int tag,
                           Watch &watch) {
  Status status = move(sends, receives, tag, /*isReceipt=*/false, watch);
  if (!status.isOk())
    return status;
  char sent = 0, received = 0;
  std::vector<Outbound> receipts;
  std::vector<Inbound> awaited;
  for (int peer : findReceipts(receives, communicator.size()))
    receipts.push_back({peer, &sent, sizeof(sent)});
  for (int peer : findReceipts(sends, communicator.size()))
    awaited.push_back({peer, &received, sizeof(received)});
  return move(receipts, awaited, tag + 1, /*isReceipt=*/true, watch);
}

Status Messenger::move(const std::vector<Outbound> &sends,
                       const std::vector<Inbound> &receives, int tag,
                       bool isReceipt, Watch &watch) {
  if (!pool)
    pool = std::make_unique<MessagePool>();
  Run run(*this, sends, receives, tag, isReceipt, watch);
  Status status;
  try {
    status = run.finish();
  } catch (...) {
    // Out of memory, say, with messages under way.
    giveUp(run);
    throw;
  }
  if (!status.isOk())
    giveUp(run);
  return status;
}
