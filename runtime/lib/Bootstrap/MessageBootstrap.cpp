//===- MessageBootstrap.cpp - groups whose ranks exchange messages --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A rank that waits in vain tells so whom it would still have sent blocks. As
/// each block reaches each rank by rounds in ascending order, and later rounds
/// wait a little longer, all ranks hear of the one that is missing.
///
//===----------------------------------------------------------------------===//

#include "DoublingGather.h"
#include "moe-runtime/MessageChannel.h"
#include "moe-runtime/Timings.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

MessageChannel::~MessageChannel() = default;

namespace {
/// What each message begins with.
struct Header {
  uint64_t sequence;
  uint64_t bytes; ///< of a block
  int32_t code;   ///< of an error, whose text follows instead of blocks
  int32_t about;  ///< the rank that the error is about, or -1
};

class MessageBootstrap : public Bootstrap {
public:
  explicit MessageBootstrap(std::unique_ptr<MessageChannel> channel)
      : channel(std::move(channel)),
        gather(this->channel->rank(), this->channel->size()) {}

  int rank() const override { return channel->rank(); }
  int size() const override { return channel->size(); }
  Status allGather(const void *in, size_t bytes, void *out) override;
  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    return exchangeFdsOverSockets(*this, fd, out);
  }

private:
  /// How much longer the next round waits.
  static constexpr double roundSeconds = 0.25;

  Status exchange(std::string &blocks, size_t bytes,
                  const DoublingGather::Round &round, double seconds);
  void giveUp(const Status &status, size_t bytes, int have);

  std::unique_ptr<MessageChannel> channel;
  DoublingGather gather;
  uint64_t sequence = 0;
  Status failed;
};
} // namespace

static std::string makeMessage(const Header &header, std::string_view payload) {
  std::string message(reinterpret_cast<const char *>(&header), sizeof(header));
  message += payload;
  return message;
}

/// Doubles the blocks.
Status MessageBootstrap::exchange(std::string &blocks, size_t bytes,
                                  const DoublingGather::Round &round,
                                  double seconds) {
  size_t moved = bytes * round.moved;
  int from = round.from;
  Header mine{sequence, bytes, MOERT_OK, -1};
  if (Status s = channel->send(
          round.to,
          makeMessage(mine, std::string_view(blocks).substr(0, moved)));
      !s.isOk())
    return s;
  auto message = channel->receive(from, seconds);
  if (!message.isOk() && message.status().code() == MOERT_TIMEOUT)
    return makeError(MOERT_TIMEOUT, "rank %d did not arrive within %g s", from,
                     timeout)
        .aboutPeer(from);
  if (!message.isOk())
    return message.status();
  Header theirs{};
  if (message->size() >= sizeof(theirs))
    std::memcpy(&theirs, message->data(), sizeof(theirs));
  if (theirs.sequence == sequence && theirs.code > MOERT_OK &&
      theirs.code <= MOERT_LAST_CODE)
    return Status(static_cast<moert_code>(theirs.code),
                  message->substr(sizeof(theirs)))
        .aboutPeer(theirs.about);
  if (theirs.sequence == sequence && theirs.bytes != bytes)
    return makeError(MOERT_COLLECTIVE_MISMATCH,
                     "rank %d gathers %zu bytes, but rank %d gathers %zu",
                     rank(), bytes, from, size_t(theirs.bytes))
        .aboutPeer(from);
  if (theirs.sequence != sequence || message->size() != sizeof(theirs) + moved)
    return makeError(MOERT_INTERNAL, "unexpected message from rank %d", from)
        .aboutPeer(from);
  blocks.append(*message, sizeof(theirs));
  return Status::ok();
}

/// Tells those to whom blocks would have gone after the round that began with
/// `have` of them.
void MessageBootstrap::giveUp(const Status &status, size_t bytes, int have) {
  failed = status;
  Header header{sequence, bytes, status.code(), status.details().peer};
  for (have *= 2; have < size(); have *= 2)
    (void)channel->send(gather.receiver(have),
                        makeMessage(header, status.message()));
}

Status MessageBootstrap::allGather(const void *in, size_t bytes, void *out) {
  if (!failed.isOk())
    return failed;
  ++sequence;
  // Of this rank and of those after it.
  std::string blocks(static_cast<const char *>(in), bytes);
  double most = timeout;
  int64_t begin = nowNs();
  Status status = gather.run([&](const DoublingGather::Round &round) {
    double left = most - double(nowNs() - begin) * 1e-9;
    Status s = exchange(blocks, bytes, round, std::max(left, 0.0));
    if (!s.isOk())
      giveUp(s, bytes, round.have);
    most += roundSeconds;
    return s;
  });
  if (!status.isOk())
    return status;
  for (int i = 0; i < size(); ++i)
    std::memcpy(static_cast<char *>(out) + bytes * size_t(gather.owner(i)),
                blocks.data() + bytes * size_t(i), bytes);
  return Status::ok();
}

std::unique_ptr<Bootstrap>
moe::rt::createMessageBootstrap(std::unique_ptr<MessageChannel> channel) {
  return std::make_unique<MessageBootstrap>(std::move(channel));
}
