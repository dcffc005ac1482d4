//===- BulkCopies.cpp - copies that happen at some time -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Grid.h"

#include <cstring>

using namespace moe::fibers;

//===----------------------------------------------------------------------===//
// Counters
//===----------------------------------------------------------------------===//

void Grid::initCounters(uint64_t *words, int64_t count, int64_t arrivals) {
  for (int64_t i = 0; i < count; ++i) {
    if (counters.count(words + i))
      reject("a stage's counter is prepared twice");
    Counter &counter = counters[words + i];
    counter.arrivals = counter.missing = arrivals;
  }
}

Counter &Grid::counterAt(uint64_t *word) {
  auto found = counters.find(word);
  if (found == counters.end())
    reject("a stage's counter is used before it is prepared");
  return found->second;
}

/// Begins the next phase when nothing of this one is missing.
void Grid::endPhase(Counter &counter) {
  if (counter.missing > 0 || counter.bytes != 0)
    return;
  ++counter.phase;
  counter.missing = counter.arrivals;
  for (Fiber *fiber : counter.waiting)
    makeRunnable(fiber);
  counter.waiting.clear();
}

void Grid::arriveAt(uint64_t *word, int64_t bytes) {
  Counter &counter = counterAt(word);
  if (counter.missing == 0)
    reject("more arrivals at a stage than it expects");
  counter.bytes += bytes;
  --counter.missing;
  endPhase(counter);
  yield();
}

void Grid::waitForCounter(uint64_t *word, uint64_t parity) {
  Counter &counter = counterAt(word);
  if ((counter.phase & 1) != parity)
    return yield();
  counter.waiting.push_back(running);
  block();
  if ((counter.phase & 1) == parity)
    reject("a stage went on by two phases while a thread waited for one");
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

void Grid::checkBulk(const char *stage, const char *other, int64_t bytes) {
  auto isAligned = [](const void *pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  if (bytes % 16 != 0 || !isAligned(stage) || !isAligned(other))
    reject("a bulk copy of %lld bytes between %p and %p is not aligned to 16 "
           "bytes",
           (long long)bytes, (const void *)stage, (const void *)other);
  const char *own = sharedOf(running->block);
  if (stage < own || stage + bytes > own + sharedBytes)
    reject("a bulk copy leaves the memory of the block");
}

void Grid::fetch(char *to, const char *from, int64_t bytes, uint64_t *counter) {
  checkBulk(to, from, bytes);
  counterAt(counter);
  for (const Copy &copy : copies) {
    if (!copy.counter && !copy.isRead && copy.from < to + bytes &&
        to < copy.from + copy.bytes)
      reject("a fetch into a stage that a put may not have read");
    if (copy.counter && copy.to < to + bytes && to < copy.to + copy.bytes)
      reject("two fetches into one stage");
  }
  copies.push_back({running, to, from, bytes, counter, 0, {}});
  yield();
}

void Grid::putStage(char *to, const char *from, int64_t bytes) {
  checkBulk(from, to, bytes);
  copies.push_back({running, to, from, bytes, nullptr, running->numPuts, {}});
}

void Grid::read(Copy &copy) {
  if (copy.isRead)
    return;
  copy.held.assign(copy.from, copy.from + copy.bytes);
  copy.isRead = true;
}

void Grid::perform(size_t index) {
  Copy &copy = copies[index];
  read(copy);
  memcpy(copy.to, copy.held.data(), copy.bytes);
  uint64_t *word = copy.counter;
  int64_t bytes = copy.bytes;
  if (index + 1 != copies.size())
    std::swap(copy, copies.back());
  copies.pop_back();
  if (!word)
    return;
  Counter &counter = counters.find(word)->second;
  counter.bytes -= bytes;
  endPhase(counter);
}

void Grid::advanceCopies() {
  size_t index = lot.below(copies.size());
  if (copies[index].isRead || lot.below(2))
    perform(index);
  else
    read(copies[index]);
}

void Grid::finishPuts(int64_t pending, bool onlyRead) {
  for (size_t i = copies.size(); i-- > 0;) {
    Copy &copy = copies[i];
    if (copy.owner != running || copy.counter ||
        copy.number > running->numPuts - pending)
      continue;
    if (onlyRead)
      read(copy);
    else
      perform(i);
  }
}

void Grid::checkCopiesOf(Fiber &fiber) {
  for (const Copy &copy : copies)
    if (copy.owner == &fiber && !copy.counter)
      reject("the thread ends before its puts");
}
