//===- Waits.cpp - waits of fibers for words ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Grid.h"
#include "moe-runtime/ArtifactABI.h"

#include <algorithm>

using namespace moe::fibers;

bool Grid::pollFlags() {
  bool any = false;
  for (size_t i = 0; i < flagWaits.size();) {
    FlagWait &wait = flagWaits[i];
    if (__atomic_load_n(wait.flag, __ATOMIC_ACQUIRE) < wait.value) {
      ++i;
      continue;
    }
    makeRunnable(wait.fiber);
    wait = flagWaits.back();
    flagWaits.pop_back();
    any = true;
  }
  return any;
}

/// As on a device, where waits for other ranks and blocks end once an error is
/// recorded. Those for stages do not.
void Grid::giveUpWaits() {
  for (FlagWait &wait : flagWaits)
    makeRunnable(wait.fiber);
  flagWaits.clear();
  for (CollectWait &wait : collectWaits)
    makeRunnable(wait.fiber);
  collectWaits.clear();
}

//===----------------------------------------------------------------------===//
// Flags of other ranks
//===----------------------------------------------------------------------===//

uint64_t Grid::waitForFlag(int64_t site, const uint64_t *flag, uint64_t value,
                           int64_t peer, const char *phase) {
  auto look = [&] { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); };
  if (look() >= value) {
    yield();
  } else if (hasLateSignals && lot.below(8) == 0) {
    recordError({MOERT_TIMEOUT, "signal", phase, int64_t(value), int64_t(value),
                 int64_t(look()), peer});
    yield();
  } else {
    flagWaits.push_back({running, flag, value, peer, phase});
    block();
  }
  uint64_t seen = look();
  if (seen < value)
    noteMiss(site);
  return seen;
}

//===----------------------------------------------------------------------===//
// Words of other blocks
//===----------------------------------------------------------------------===//

static uint64_t tagOf(uint64_t word) { return word >> 32; }

void Grid::post(uint64_t *word, uint64_t epoch, uint64_t value) {
  yield();
  uint64_t posted = epoch << 32 | value;
  if (tagOf(*word) == tagOf(posted))
    reject("a word is posted again in epoch %llu", (unsigned long long)epoch);
  __atomic_store_n(word, posted, __ATOMIC_RELAXED);
  for (size_t i = 0; i < collectWaits.size();) {
    CollectWait &wait = collectWaits[i];
    if (wait.word != word || wait.tag != tagOf(posted)) {
      ++i;
      continue;
    }
    makeRunnable(wait.fiber);
    wait = collectWaits.back();
    collectWaits.pop_back();
  }
  yield();
}

uint64_t Grid::collect(int64_t site, const uint64_t *word, uint64_t epoch,
                       const char *phase) {
  uint64_t tag = tagOf(epoch << 32);
  auto look = [&] { return __atomic_load_n(word, __ATOMIC_RELAXED); };
  bool isPosted = tagOf(look()) == tag;
  if (!isPosted && hasLateSignals && lot.below(8) == 0) {
    recordError({MOERT_TIMEOUT, "signal of a block", phase, int64_t(tag),
                 int64_t(tag), int64_t(tagOf(look()))});
    yield();
  } else if (isPosted || (hasFailed() && lot.below(2))) {
    // As on a device, a thread may give up once an error is recorded.
    yield();
  } else {
    collectWaits.push_back({running, word, tag});
    block();
  }
  uint64_t seen = look();
  if (tagOf(seen) != tag)
    noteMiss(site);
  return seen;
}

//===----------------------------------------------------------------------===//
// Waits in vain
//===----------------------------------------------------------------------===//

void Grid::noteMiss(Fiber &fiber, int64_t site) {
  fiber.knowsOfMiss = true;
  firstMiss[fiber.block] = std::min(firstMiss[fiber.block], site);
}

void Grid::shareMisses(const Meeting &meeting) {
  for (Fiber *fiber : meeting.there)
    knowing[fiber->block] |= fiber->knowsOfMiss;
  for (Fiber *fiber : meeting.there)
    fiber->knowsOfMiss = knowing[fiber->block];
  for (Fiber *fiber : meeting.there)
    knowing[fiber->block] = false;
}

void Grid::checkMayPut(int64_t site, const char *what) {
  if (running->knowsOfMiss || firstMiss[running->block] < site)
    reject("%s after a wait that ended in vain", what);
}
