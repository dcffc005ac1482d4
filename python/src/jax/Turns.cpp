//===- Turns.cpp - the order in which ranks run their calls ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Turns.h"

#include <algorithm>

using namespace moe::py;

void Turns::announce(size_t rank, const Call &call) {
  std::lock_guard<std::mutex> lock(mutex);
  ranks[rank].waiting.push_back(call);
  if (rank == 0)
    order.push_back(call);
  changed.notify_all();
}

bool Turns::isTurn(const Rank &rank, const Call &call) const {
  size_t position = rank.next - numForgotten;
  return !rank.isRunning && position < order.size() && order[position] == call;
}

std::string Turns::wait(size_t number, const Call &call, double seconds,
                        const std::function<bool()> &hasFailed) {
  using Clock = std::chrono::steady_clock;
  auto patience = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds));
  auto deadline = Clock::now() + patience;
  std::unique_lock<std::mutex> lock(mutex);
  size_t seen = ended;
  Rank &rank = ranks[number];
  std::string missing;
  if (!areAllHere && (rank.isRunning || rank.waiting.size() > 1))
    missing = "expected exchanges that depend on each other, since the order "
              "of other processes is not known; XLA has started two at once "
              "(jax.lax.optimization_barrier orders them)";
  while (missing.empty() && !isTurn(rank, call)) {
    changed.wait_for(lock, std::chrono::milliseconds(100));
    if (isTurn(rank, call))
      break;
    if (!rank.isRunning && hasFailed())
      break;
    // Many calls may be in front of this one. Each of them has the whole time.
    if (ended != seen) {
      seen = ended;
      deadline = Clock::now() + patience;
    }
    if (Clock::now() >= deadline)
      missing = rank.isRunning ? "the call before it has not ended"
                               : "the first rank of this process has not come "
                                 "to this exchange";
  }
  auto found = std::find(rank.waiting.begin(), rank.waiting.end(), call);
  if (found != rank.waiting.end())
    rank.waiting.erase(found);
  if (missing.empty())
    rank.isRunning = true;
  return missing;
}

void Turns::done(size_t number) {
  std::lock_guard<std::mutex> lock(mutex);
  ranks[number].isRunning = false;
  ++ranks[number].next;
  ++ended;
  size_t first = ranks[0].next;
  for (const Rank &rank : ranks)
    first = std::min(first, rank.next);
  while (numForgotten < first && !order.empty()) {
    order.pop_front();
    ++numForgotten;
  }
  changed.notify_all();
}

bool Turns::isIdle() {
  std::lock_guard<std::mutex> lock(mutex);
  return std::all_of(ranks.begin(), ranks.end(), [](const Rank &rank) {
    return !rank.isRunning && rank.waiting.empty();
  });
}

size_t Turns::numEnded() {
  std::lock_guard<std::mutex> lock(mutex);
  return ended;
}

void Turns::reset() {
  std::lock_guard<std::mutex> lock(mutex);
  for (Rank &rank : ranks)
    rank = Rank();
  order.clear();
  numForgotten = 0;
}
