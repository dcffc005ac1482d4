//===- RankSnapshot.cpp - what other hosts see of a rank ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankSnapshot.h"

#include "../Core/ControlBlock.h"

#include <cstring>

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

namespace {
class Writer {
public:
  void operator()(uint64_t value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(value));
  }
  void operator()(const std::string &text) {
    (*this)(uint64_t(text.size()));
    bytes += text;
  }
  std::string bytes;
};

class Reader {
public:
  explicit Reader(std::string_view bytes) : bytes(bytes) {}
  void operator()(uint64_t &value) {
    value = 0;
    std::string_view raw = take(sizeof(value));
    if (!raw.empty())
      std::memcpy(&value, raw.data(), raw.size());
  }
  void operator()(std::string &text) {
    uint64_t length = 0;
    (*this)(length);
    text = take(length);
  }
  bool isGood() const { return !isShort && bytes.empty(); }

private:
  std::string_view take(uint64_t length) {
    isShort |= length > bytes.size();
    if (isShort)
      return {};
    std::string_view taken = bytes.substr(0, length);
    bytes.remove_prefix(length);
    return taken;
  }
  std::string_view bytes;
  bool isShort = false;
};

/// Shows all fields to `field`, in the order in which they travel.
template <typename Snapshot, typename Field>
void forEachField(Snapshot &s, Field &field) {
  auto error = [&](auto &e) {
    field(e.code);
    field(e.message);
    field(e.details);
  };
  for (auto *number : {&s.rank,
                       &s.generation,
                       &s.state,
                       &s.hasDied,
                       &s.isOrigin,
                       &s.groupOps,
                       &s.groupOpsQueued,
                       &s.groupOpsDone,
                       &s.groupOpsCompared,
                       &s.collectives,
                       &s.collectiveWord,
                       &s.pid,
                       &s.opOrdinal,
                       &s.opKind,
                       &s.opHash,
                       &s.opCollectivesBefore,
                       &s.opCollectivesAfter,
                       &s.ordinal,
                       &s.site,
                       &s.artifact,
                       &s.groupOp})
    field(*number);
  for (auto *text : {&s.phase, &s.opText, &s.op, &s.location})
    field(*text);
  error(s.error);
  error(s.opError);
}
} // namespace

std::string RankSnapshot::encode() const {
  Writer writer;
  forEachField(*this, writer);
  return std::move(writer.bytes);
}

std::optional<RankSnapshot> RankSnapshot::decode(std::string_view bytes,
                                                 int ranks) {
  RankSnapshot snapshot;
  Reader reader(bytes);
  forEachField(snapshot, reader);
  if (!reader.isGood() || snapshot.rank >= uint64_t(ranks))
    return std::nullopt;
  return snapshot;
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

static constexpr auto acquire = std::memory_order_acquire;
static constexpr auto release = std::memory_order_release;

template <size_t N>
static RankSnapshot::Error readError(const SharedError<N> &error) {
  uint64_t code = error.code.load(acquire);
  if (code == MOERT_OK)
    return {};
  return {code, error.message.load(), error.details.load()};
}

template <size_t N>
static void writeError(SharedError<N> &error, const RankSnapshot::Error &from) {
  error.message.store(from.message);
  error.details.store(from.details);
  error.code.store(from.code, release);
}

RankSnapshot RankSnapshot::read(ControlMemory &memory, int rank, bool hasDied) {
  const RankBlock &block = memory.ranks()[rank];
  RankSnapshot s;
  s.rank = uint64_t(rank);
  // A rank that begins a generation has zeroed its block before.
  s.generation = block.generation.load(acquire);
  s.hasDied = hasDied;
  s.state = block.state.load(acquire);
  // In this order, those who compare take no collective for missing that comes
  // before the end of its operation.
  s.groupOpsDone = block.groupOpsDone.load(acquire);
  s.groupOpsQueued = block.groupOpsQueued.load(acquire);
  s.collectives = block.collectives.load(acquire);
  s.groupOpsCompared = block.groupOpsCompared.load(acquire);
  s.groupOps = block.groupOps.load(acquire);
  s.collectiveWord = memory.collectives()[rank].load(acquire);
  s.pid = block.pid.load(acquire);
  s.phase = block.phase.load();
  s.isOrigin = memory.group().origin.load(acquire) == uint64_t(rank) + 1;
  s.error = readError(block.error);
  // An origin of the generation before.
  s.isOrigin = s.isOrigin && s.error.code != MOERT_OK;

  const GroupOpRecord &groupOp =
      block.groupOpRing[s.groupOps % RankBlock::groupOpSlots];
  uint64_t ordinal = groupOp.ordinal.load(acquire);
  if (ordinal != 0) {
    s.opKind = groupOp.kind.load(acquire);
    s.opHash = groupOp.hash.load(acquire);
    s.opCollectivesBefore = groupOp.collectivesBefore.load(acquire);
    s.opCollectivesAfter = groupOp.collectivesAfter.load(acquire);
    s.opText = groupOp.text.load();
    s.opError = readError(groupOp.localError);
    if (groupOp.ordinal.load(acquire) == ordinal && ordinal == s.groupOps)
      s.opOrdinal = ordinal;
  }
  const CollectiveRecord &collective =
      block.collectiveRing[s.collectives % RankBlock::collectiveSlots];
  ordinal = collective.ordinal.load(acquire);
  if (ordinal != 0) {
    s.site = collective.site.load(acquire);
    s.artifact = collective.artifact.load(acquire);
    s.groupOp = collective.groupOp.load(acquire);
    s.op = collective.op.load();
    s.location = collective.location.load();
    if (collective.ordinal.load(acquire) == ordinal && ordinal == s.collectives)
      s.ordinal = ordinal;
  }
  return s;
}

/// An operation that was running when it was last heard of, and is not the last
/// one any more: how many collectives it had in the end is not known here.
static void forgetUnfinished(RankBlock &block, uint64_t groupOps) {
  uint64_t last = block.groupOps.load(acquire);
  if (last == groupOps || last <= block.groupOpsQueued.load(acquire))
    return;
  GroupOpRecord &record = block.groupOpRing[last % RankBlock::groupOpSlots];
  if (record.ordinal.load(acquire) == last)
    record.ordinal.store(0, release);
}

void RankSnapshot::apply(ControlMemory &memory) const {
  RankBlock &block = memory.ranks()[rank];
  // Before it counts as ended.
  forgetUnfinished(block, groupOps);
  if (opOrdinal != 0) {
    GroupOpRecord &record =
        block.groupOpRing[opOrdinal % RankBlock::groupOpSlots];
    // Only its last field changes once it is there.
    if (record.ordinal.load(acquire) != opOrdinal) {
      record.ordinal.store(0, release);
      record.kind.store(opKind, release);
      record.hash.store(opHash, release);
      record.collectivesBefore.store(opCollectivesBefore, release);
      record.text.store(opText);
      writeError(record.localError, opError);
    }
    record.collectivesAfter.store(opCollectivesAfter, release);
    record.ordinal.store(opOrdinal, release);
  }
  if (ordinal != 0) {
    CollectiveRecord &record =
        block.collectiveRing[ordinal % RankBlock::collectiveSlots];
    if (record.ordinal.load(acquire) != ordinal) {
      record.ordinal.store(0, release);
      record.site.store(site, release);
      record.artifact.store(artifact, release);
      record.groupOp.store(groupOp, release);
      record.op.store(op);
      record.location.store(location);
      record.ordinal.store(ordinal, release);
    }
  }
  block.phase.store(phase);
  block.pid.store(pid, release);
  block.collectives.store(collectives, release);
  memory.collectives()[rank].store(collectiveWord, release);
  block.groupOps.store(groupOps, release);
  block.groupOpsCompared.store(groupOpsCompared, release);
  block.groupOpsQueued.store(groupOpsQueued, release);
  block.groupOpsDone.store(groupOpsDone, release);
  writeError(block.error, error);
  // Whoever sees that a rank has gone sees all it has done before.
  block.state.store(uint32_t(state), release);
  if (hasDied)
    block.fate.store(uint32_t(RankFate::Died), release);
  block.generation.store(generation, release);
}
