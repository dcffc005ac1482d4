//===- Grid.cpp - the threads of a kernel as fibers -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Grid.h"
#include "moe-runtime/ArtifactABI.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace moe::fibers;

static constexpr size_t kStackBytes = 256 * 1024;
static constexpr size_t kGuardBytes = 4096;
/// How long all threads of a rank wait before the runtime is asked, which knows
/// whether other ranks have failed.
static constexpr int64_t kIdleNs = 1000000000;
/// Most microseconds that a rank sleeps around a signal.
static constexpr uint64_t kPauseUs = 8000;
/// Rounds of waiting after which a failed kernel gives up its waits.
static constexpr int64_t kRoundsToGiveUp = 200;

uint64_t Lot::next() {
  state += 0x9e3779b97f4a7c15;
  uint64_t x = state;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

static int64_t nowNs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

/// A number from the environment, or `fallback`.
static uint64_t readSetting(const char *name, uint64_t fallback) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, nullptr, 0) : fallback;
}

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

static Grid *theGrid = nullptr;

/// Where each fiber begins.
void Grid::enter() {
  Grid &grid = *theGrid;
  Fiber &fiber = grid.self();
  grid.kernel(grid.captures, grid.sharedOf(fiber.block), fiber.block,
              fiber.thread, grid.numBlocks, grid.numThreads);
  grid.checkCopiesOf(fiber);
  --grid.live;
  _longjmp(grid.scheduler, 1);
}

void Grid::resume(Fiber &fiber) {
  running = &fiber;
  if (_setjmp(scheduler) != 0)
    return;
  if (fiber.hasStarted)
    _longjmp(fiber.context, 1);
  fiber.hasStarted = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack;
  fiber.start.uc_stack.ss_size = kStackBytes;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, &Grid::enter, 0);
  setcontext(&fiber.start);
}

/// Returns when somebody has made this fiber runnable again.
void Grid::block() {
  if (_setjmp(running->context) == 0)
    _longjmp(scheduler, 1);
}

void Grid::yield() {
  makeRunnable(running);
  block();
}

void Grid::pause() {
  // Rarer the more there were: a kernel with thousands of signals ends, too.
  if (isDrowsy && lot.below(4 + numSleeps) == 0) {
    usleep(lot.below(kPauseUs));
    ++numSleeps;
  }
  yield();
}

void Grid::reject(const char *format, ...) {
  fprintf(stderr, "fibers: rank %lld, block %lld, thread %lld: ",
          (long long)moert_rank(), (long long)running->block,
          (long long)running->thread);
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, " (MOE_FIBER_SEED=%llu)\n", (unsigned long long)seed);
  // Of more interest than an error that a test has provoked.
  error = {MOERT_INTERNAL, "use of the kernel's threads"};
  isAbandoned = true;
  _longjmp(scheduler, 1);
}

//===----------------------------------------------------------------------===//
// Scheduling
//===----------------------------------------------------------------------===//

void Grid::begin(int64_t blocks, int64_t threads, int64_t bytes) {
  theGrid = this;
  if (launches++ == 0)
    seed = readSetting("MOE_FIBER_SEED", uint64_t(nowNs()) ^ getpid());
  lot.reset(seed + 1000003 * uint64_t(moert_rank()) + 31 * launches);
  // A device may have room for fewer blocks than asked for.
  if (uint64_t most = readSetting("MOE_FIBER_BLOCKS", 0))
    numBlocks = std::min<int64_t>(blocks, most);
  else
    numBlocks = lot.below(2) ? blocks : 1 + lot.below(blocks);
  numThreads = threads;
  isLazy = lot.below(2);
  isDrowsy = lot.below(4) == 0;
  numSleeps = 0;
  newestFirst = lot.below(4) == 0;
  hasLateSignals = readSetting("MOE_FIBER_LATE", 0);
  knowing.assign(numBlocks, false);
  firstMiss.assign(numBlocks, std::numeric_limits<int64_t>::max());
  int64_t total = numBlocks * threads, subgroups = total / kSubgroupSize;

  while (int64_t(stacks.size()) < total) {
    void *stack =
        mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
      moert_fail(MOERT_OUT_OF_MEMORY, "stacks of fibers", total, total,
                 stacks.size(), -1, -1, -1);
    mprotect(stack, kGuardBytes, PROT_NONE);
    stacks.push_back(static_cast<char *>(stack) + kGuardBytes);
  }
  fibers.clear();
  fibers.resize(total);
  runnable.clear();
  for (int64_t i = 0; i < total; ++i) {
    fibers[i].block = i / threads;
    fibers[i].thread = i % threads;
    fibers[i].stack = stacks[i];
    runnable.push_back(&fibers[i]);
  }
  chooseSlow();
  // Nobody may rely on what the memory of a block holds at first.
  sharedBytes = bytes;
  sharedStride = (bytes + 127) / 128 * 128 + 128;
  shared.resize(numBlocks * sharedStride + 128);
  sharedStart = -reinterpret_cast<intptr_t>(shared.data()) & 127;
  for (char &byte : shared)
    byte = static_cast<char>(lot.next());

  subgroupMeetings.clear();
  subgroupMeetings.resize(subgroups);
  blockMeetings.clear();
  blockMeetings.resize(numBlocks);
  gridMeeting = Meeting();
  flagWaits.clear();
  collectWaits.clear();
  counters.clear();
  copies.clear();
  live = total;
  idleSince = idleRounds = 0;
  isAbandoned = false;
  error = Record();
}

/// Some threads come last everywhere: a subgroup, a block, or any.
void Grid::chooseSlow() {
  uint64_t kind = lot.below(5), first = lot.below(fibers.size());
  for (uint64_t i = 0; i < fibers.size(); ++i) {
    Fiber &fiber = fibers[i];
    if (kind == 0)
      fiber.isSlow = i / kSubgroupSize == first / kSubgroupSize;
    else if (kind == 1)
      fiber.isSlow = fiber.block == fibers[first].block;
    else if (kind == 2)
      fiber.isSlow = lot.below(8) == 0;
    else if (kind == 3)
      fiber.isSlow = i == first;
  }
}

void Grid::run(Kernel code, void *values, int64_t blocks, int64_t threads,
               int64_t bytes) {
  if (blocks < 1 || threads < 1 || threads % kSubgroupSize != 0)
    moert_fail(MOERT_INTERNAL, "threads of a kernel", kSubgroupSize, INT64_MAX,
               threads, -1, -1, -1);
  kernel = code;
  captures = values;
  begin(blocks, threads, bytes);
  loop();
}

void Grid::loop() {
  for (uint64_t step = 0; live > 0 && !isAbandoned; ++step) {
    if (!isLazy && !copies.empty() && lot.below(4) == 0)
      advanceCopies();
    if (step % 64 == 0)
      pollFlags();
    if (runnable.empty()) {
      if (!idle()) {
        describeStuck();
        return;
      }
      continue;
    }
    idleSince = idleRounds = 0;
    resume(*pick());
  }
  if (!isAbandoned && !copies.empty()) {
    fprintf(stderr,
            "fibers: rank %lld: the kernel ends before its bulk copies "
            "(MOE_FIBER_SEED=%llu)\n",
            (long long)moert_rank(), (unsigned long long)seed);
    recordError({MOERT_INTERNAL, "use of the kernel's threads"});
  }
}

Fiber *Grid::pick() {
  size_t at = runnable.size() - 1;
  if (!newestFirst || lot.below(16) == 0)
    at = lot.below(runnable.size());
  for (int i = 0; i < 16 && runnable[at]->isSlow; ++i)
    at = lot.below(runnable.size());
  Fiber *fiber = runnable[at];
  runnable[at] = runnable.back();
  runnable.pop_back();
  return fiber;
}

bool Grid::idle() {
  if (pollFlags())
    return true;
  ++idleRounds;
  // While another rank may still go on, copies can take their time.
  if (!copies.empty() && (flagWaits.empty() || lot.below(16) == 0)) {
    advanceCopies();
    return true;
  }
  bool isWaiting = !flagWaits.empty() || !collectWaits.empty();
  if (error.code != 0 && isWaiting && idleRounds > kRoundsToGiveUp) {
    giveUpWaits();
    return true;
  }
  if (flagWaits.empty())
    return !copies.empty() || (error.code != 0 && isWaiting);
  if (idleRounds < 16)
    sched_yield();
  else
    usleep(50);
  if (idleSince == 0)
    idleSince = nowNs();
  // The runtime waits until the signal is there: not while this rank has copies
  // to make, for which another one may wait in turn.
  if (!copies.empty() || nowNs() - idleSince < kIdleNs)
    return true;
  // The signal comes, or this ends the entry.
  size_t at = lot.below(flagWaits.size());
  FlagWait wait = flagWaits[at];
  moert_phase(wait.phase);
  moert_wait(wait.flag, wait.value, wait.peer);
  return true;
}

/// Some threads wait for others that have ended or wait elsewhere.
void Grid::describeStuck() {
  fprintf(stderr,
          "fibers: rank %lld: threads wait for each other in vain "
          "(MOE_FIBER_SEED=%llu)\n",
          (long long)moert_rank(), (unsigned long long)seed);
  auto describe = [](const char *where, size_t index, const Meeting &meeting) {
    if (!meeting.there.empty())
      fprintf(stderr, "fibers:   %s %zu: %zu threads at %s, place %lld\n",
              where, index, meeting.there.size(), meeting.what,
              (long long)meeting.site);
  };
  for (size_t i = 0; i < subgroupMeetings.size(); ++i)
    describe("subgroup", i, subgroupMeetings[i]);
  for (size_t i = 0; i < blockMeetings.size(); ++i)
    describe("block", i, blockMeetings[i]);
  describe("grid", 0, gridMeeting);
  if (!collectWaits.empty())
    fprintf(stderr, "fibers:   grid: %zu threads wait for a value of a block\n",
            collectWaits.size());
  for (auto &[word, counter] : counters)
    if (!counter.waiting.empty())
      fprintf(stderr,
              "fibers:   stage: %zu threads wait; phase %llu, %lld arrivals "
              "and %lld bytes to come\n",
              counter.waiting.size(), (unsigned long long)counter.phase,
              (long long)counter.missing, (long long)counter.bytes);
  recordError({MOERT_INTERNAL, "use of the kernel's threads"});
}

//===----------------------------------------------------------------------===//
// Meetings
//===----------------------------------------------------------------------===//

void Grid::meet(Meeting &meeting, size_t size, const char *what, int64_t site,
                Completion all) {
  if (meeting.there.empty()) {
    meeting.what = what;
    meeting.site = site;
  } else if (meeting.site != site || strcmp(meeting.what, what) != 0) {
    reject("threads meet at %s, place %lld, while others are at %s, place "
           "%lld",
           what, (long long)site, meeting.what, (long long)meeting.site);
  }
  meeting.there.push_back(running);
  if (meeting.there.size() == size) {
    shareMisses(meeting);
    if (all)
      all(*this, meeting);
    for (Fiber *fiber : meeting.there)
      makeRunnable(fiber);
    meeting.there.clear();
  }
  block();
}

Meeting &Grid::meetSubgroup(const char *what, int64_t site, Completion all) {
  int64_t number = running->block * numThreads + running->thread;
  Meeting &meeting = subgroupMeetings[number / kSubgroupSize];
  meet(meeting, kSubgroupSize, what, site, all);
  return meeting;
}

void Grid::meetBlock(const char *what, int64_t site, Completion all) {
  meet(blockMeetings[running->block], numThreads, what, site, all);
}

bool Grid::meetGrid(const char *what, int64_t site) {
  meet(gridMeeting, numBlocks * numThreads, what, site,
       [](Grid &grid, Meeting &meeting) {
         // As on a device, a block may give up once an error is recorded.
         uint64_t gaveUp = grid.hasFailed() ? grid.lot.next() : 0;
         for (Fiber *fiber : meeting.there) {
           fiber->result = (gaveUp >> fiber->block % 64 & 1) == 0;
           if (!fiber->result)
             grid.noteMiss(*fiber, meeting.site);
         }
       });
  return running->result;
}
