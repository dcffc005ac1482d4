//===- LinkNews.cpp - what is heard of other hosts ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Link.h"

#include <algorithm>
#include <cstdlib>

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// What other hosts say
//===----------------------------------------------------------------------===//

void Link::take(Neighbour &from, LinkFrame::Kind kind,
                std::string_view payload) {
  switch (kind) {
  case LinkFrame::Beat:
  case LinkFrame::Text:
    return;
  case LinkFrame::Rank:
    return takeSnapshot(from, payload);
  case LinkFrame::Lost: {
    std::string text(payload);
    char *rest = nullptr;
    long host = std::strtol(text.c_str(), &rest, 10);
    if (host > 0 && host < hosts.numHosts() && host != myHost && *rest)
      markLost(static_cast<int>(host), rest + 1);
    return;
  }
  case LinkFrame::Goodbye:
    from.connection.close();
    return;
  }
}

void Link::takeSnapshot(Neighbour &from, std::string_view payload) {
  auto snapshot = RankSnapshot::decode(payload, memory->size);
  if (!snapshot)
    return;
  int rank = static_cast<int>(snapshot->rank), host = hosts.hostOf(rank);
  // A host speaks for its ranks, and rank 0 for all.
  if (host == myHost || (isHub() && host != from.host) || isLost[host])
    return;
  latest[rank].bytes = payload;
  latest[rank].generation = snapshot->generation;
  ++latest[rank].version;
  apply(*snapshot);
}

/// What is of an older generation is void. What is of a newer one waits until
/// this host begins that, too.
void Link::apply(const RankSnapshot &snapshot) {
  if (snapshot.generation != generation)
    return;
  snapshot.apply(*memory);
  if (snapshot.isOrigin)
    nameOrigin(*memory, static_cast<int>(snapshot.rank));
}

void Link::beginGeneration() {
  std::lock_guard<std::mutex> lock(mutex);
  ++generation;
  for (int rank = 0; rank < memory->size; ++rank)
    if (!isLocal(rank))
      clearForReset(*memory, rank, generation);
  memory->group().origin = 0;
  for (int rank = 0; rank < memory->size; ++rank)
    if (!isLocal(rank) && latest[rank].generation == generation)
      if (auto snapshot =
              RankSnapshot::decode(latest[rank].bytes, memory->size))
        apply(*snapshot);
}

//===----------------------------------------------------------------------===//
// Hosts that are lost
//===----------------------------------------------------------------------===//

bool Link::haveLeft(const std::vector<int> &ranks) const {
  return std::all_of(ranks.begin(), ranks.end(), [&](int rank) {
    const RankBlock &block = memory->ranks()[rank];
    return hasDied[rank] ||
           block.fate.load(std::memory_order_acquire) !=
               uint32_t(RankFate::Well) ||
           block.state.load(std::memory_order_acquire) ==
               uint32_t(RankState::Left);
  });
}

/// The connection to `host` ends without a goodbye.
void Link::lose(int host, const std::string &why) {
  for (Neighbour &other : neighbours)
    if (other.host == host)
      other.connection.close();
  const std::vector<int> &ranks = hosts.ranksOf(host);
  if (haveLeft(ranks))
    return;
  std::string text =
      format("lost host %s: the connection to its leader, rank "
             "%d, %s",
             hosts.describe(host).c_str(), ranks.front(), why.c_str());
  constexpr size_t most = 4;
  for (size_t i = 0; i < std::min(ranks.size(), most); ++i)
    text += format("; rank %d was last seen %s", ranks[i],
                   lastSeen(ranks[i]).c_str());
  markLost(host, text);
  std::string news = format("%d ", host) + text;
  for (Neighbour &other : neighbours)
    if (other.connection.isOpen())
      other.connection.queue(LinkFrame::Lost, news);
}

void Link::markLost(int host, const std::string &text) {
  if (isLost[host])
    return;
  isLost[host] = true;
  const std::vector<int> &ranks = hosts.ranksOf(host);
  int first = ranks.front();
  Status error = Status(MOERT_PEER_FAILED, text)
                     .of(first)
                     .aboutPeer(first)
                     .expecting("", "lost host " + hosts.describe(host));
  RankBlock *blocks = memory->ranks();
  blocks[first].lostText.store(text);
  for (int rank : ranks)
    blocks[rank].fate.store(uint32_t(RankFate::Lost),
                            std::memory_order_release);
  if (memory->group().origin.load(std::memory_order_acquire) != 0)
    return;
  blocks[first].error.store(error);
  nameOrigin(*memory, first);
}
