//===- MessageLabels.cpp - whose messages a device receives ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MessageLabels.h"

#include <algorithm>
#include <numeric>

using namespace moe::rt;

/// Messages for which host memory is taken at once.
static constexpr size_t messagesPerPage = 64;

MessageLabels::MessageLabels(Backend &backend, Memory &memory, int size)
    : backend(backend), memory(memory), size(size), starts(size_t(size)),
      counts(size_t(size), 1) {
  std::iota(starts.begin(), starts.end(), 0);
}

/// Sites are counted from 0, and all else from 1; hashes are not 0 in practice,
/// and one that is goes unnoticed.
MessageLabels::Label MessageLabels::toLabel(const CollectiveId &id) {
  return {{id.artifact, id.site + 1, id.groupOp, id.ordinal}};
}

/// False when the label has not come, or not all of it: the device stores words
/// as wholes.
bool MessageLabels::take(const Label &label, CollectiveId &id) {
  uint64_t words[4];
  for (int i = 0; i < 4; ++i) {
    words[i] = __atomic_load_n(&label.words[i], __ATOMIC_ACQUIRE);
    if (words[i] == 0)
      return false;
  }
  id = {words[0], words[1] - 1, words[2], words[3]};
  return true;
}

Expected<MessageLabels::Label *> MessageLabels::takeMemory() {
  if (unused.empty()) {
    auto page = backend.pinHostMemory(messagesPerPage * 2 * bytes());
    if (!page.isOk())
      return page.status();
    auto *labels = reinterpret_cast<Label *>(*page);
    for (size_t i = messagesPerPage; i-- > 0;)
      unused.push_back(labels + i * 2 * size_t(size));
  }
  Label *taken = unused.back();
  unused.pop_back();
  return taken;
}

Expected<MessageBuffers> MessageLabels::begin(const CollectiveId &mine,
                                              const StreamRef &stream) {
  auto taken = takeMemory();
  if (!taken.isOk())
    return taken.status();
  Label *sent = *taken, *received = sent + size;
  std::fill_n(sent, size, toLabel(mine));
  std::fill_n(received, size, Label{});
  pending.push_back({sent, received, mine, stream, backend.isCapturing()});
  // Given back in order of the stream, or kept by the capture.
  onDevice = static_cast<char *>(
      memory.allocate(int64_t(2 * bytes()), alignof(Label)));
  if (!onDevice)
    return makeError(MOERT_OUT_OF_MEMORY,
                     "cannot allocate %zu bytes for labels of messages",
                     2 * bytes());
  // With the room for those that come: what an exchange that is given up does
  // not bring is not to be that of an earlier one.
  if (Status s = backend.copy(onDevice, sent, 2 * bytes()); !s.isOk())
    return s;
  return MessageBuffers{onDevice, onDevice + bytes(), sizeof(Label)};
}

RowExchange MessageLabels::asRows(const MessageBuffers &labels) const {
  return {static_cast<const char *>(labels.send),
          starts.data(),
          counts.data(),
          static_cast<char *>(labels.recv),
          starts.data(),
          counts.data(),
          labels.bytes};
}

Status MessageLabels::end() {
  Status status =
      backend.copy(pending.back().received, onDevice + bytes(), bytes());
  memory.free(onDevice);
  onDevice = nullptr;
  return status;
}

template <typename Predicate> void MessageLabels::giveBackIf(Predicate isOver) {
  auto kept = pending.begin();
  for (const Pending &message : pending)
    if (isOver(message))
      unused.push_back(message.sent);
    else
      *kept++ = message;
  pending.erase(kept, pending.end());
}

Status MessageLabels::check(const Compare &compare) {
  bool hasGraphs = backend.numGraphs() > 0;
  Status status;
  giveBackIf([&](const Pending &message) {
    int numHere = 0;
    for (int peer = 0; peer < size && status.isOk(); ++peer) {
      CollectiveId theirs;
      if (!take(message.received[peer], theirs))
        continue;
      if (!(theirs == message.mine))
        status = compare(peer, message.mine, theirs);
      ++numHere;
    }
    return status.isOk() && (message.isCaptured ? !hasGraphs : numHere == size);
  });
  return status;
}

void MessageLabels::finished(const StreamRef &stream) {
  giveBackIf([&](const Pending &message) {
    return !message.isCaptured && message.stream.isOwn == stream.isOwn &&
           (stream.isOwn || message.stream.handle == stream.handle);
  });
}

void MessageLabels::reset() {
  finished(StreamRef{});
  // Others may be written yet: their memory is not used again.
  pending.clear();
}
