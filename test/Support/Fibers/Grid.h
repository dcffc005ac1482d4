//===- Grid.h - the threads of a kernel as fibers ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Executes kernels that `moe-kernels-to-fibers` made. All threads of a grid
/// are fibers of the calling thread; which one runs is drawn by lot wherever
/// one meets others, waits or signals. Errors are recorded as on a device and
/// reported when the kernel has ended.
///
/// A kernel may be abandoned: then its fibers are never resumed. Functions that
/// fibers call therefore hold nothing that has a destructor while they block.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_SUPPORT_FIBERS_GRID_H
#define MOE_TEST_SUPPORT_FIBERS_GRID_H

#include <csetjmp>
#include <cstdint>
#include <map>
#include <ucontext.h>
#include <vector>

namespace moe::fibers {

using Kernel = void (*)(void *captures, void *shared, int64_t block,
                        int64_t thread, int64_t blocks, int64_t threads);

constexpr int64_t kSubgroupSize = 32;

/// One thread of the grid.
struct Fiber {
  int64_t block, thread;
  bool hasStarted = false;
  /// Others go first.
  bool isSlow = false;
  /// It knows of a wait in vain: one of its own, or of somebody of its block
  /// that it has met since.
  bool knowsOfMiss = false;
  jmp_buf context;
  ucontext_t start;
  char *stack;
  /// What it brings to a meeting, and what it takes from there.
  uint64_t args[3] = {};
  uint64_t result = 0;
  /// Puts from stages that it has begun.
  int64_t numPuts = 0;

  int64_t lane() const { return thread % kSubgroupSize; }
};

/// A place where some fibers wait for each other.
struct Meeting {
  const char *what = nullptr;
  int64_t site = 0;
  std::vector<Fiber *> there;
  /// What lanes tell each other; theirs until they meet again.
  uint64_t values[kSubgroupSize];
};

/// The first error of a kernel, like moert_device_record.
struct Record {
  int64_t code = 0;
  const char *what = nullptr, *phase = nullptr;
  int64_t least = 0, most = 0, seen = 0, peer = -1, token = -1, slot = -1;
};

/// Random numbers that follow from a seed.
class Lot {
public:
  void reset(uint64_t seed) { state = seed; }
  uint64_t next();
  /// 0 .. limit - 1.
  uint64_t below(uint64_t limit) { return next() % limit; }

private:
  uint64_t state = 0;
};

/// A bulk copy that has begun: it happens at any time from then on, and when it
/// is waited for at the latest.
struct Copy {
  Fiber *owner;
  char *to;
  const char *from;
  int64_t bytes;
  uint64_t *counter;      ///< of a fetch; null for a put
  int64_t number;         ///< of a put, among those of its owner
  std::vector<char> held; ///< what has been read
  bool isRead = false;
};

/// The arrivals at a stage.
struct Counter {
  int64_t arrivals, missing, bytes = 0;
  uint64_t phase = 0;
  std::vector<Fiber *> waiting;
};

class Grid {
public:
  /// Runs a kernel to its end. Does not return when a wait of this rank ends
  /// with an error. Nothing on its stack has a destructor.
  void run(Kernel kernel, void *captures, int64_t blocks, int64_t threads,
           int64_t sharedBytes);

  const Record &record() const { return error; }
  void recordError(const Record &record) {
    if (error.code == 0)
      error = record;
  }
  bool hasFailed() const { return error.code != 0; }

  //===--------------------------------------------------------------------===//
  // Called by fibers
  //===--------------------------------------------------------------------===//

  Fiber &self() { return *running; }
  /// Lets others run.
  void yield();
  /// Lets other ranks run, now and then.
  void pause();
  /// Meets `size` fibers; the last one to come calls `all`.
  using Completion = void (*)(Grid &grid, Meeting &meeting);
  void meet(Meeting &meeting, size_t size, const char *what, int64_t site,
            Completion all);
  Meeting &meetSubgroup(const char *what, int64_t site, Completion all);
  void meetBlock(const char *what, int64_t site, Completion all);
  /// Whether the block of this fiber has waited for all others.
  bool meetGrid(const char *what, int64_t site);
  /// Returns the value seen last.
  uint64_t waitForFlag(int64_t site, const uint64_t *flag, uint64_t value,
                       int64_t peer, const char *phase);
  /// Posts a value in a word of this rank, once in an epoch.
  void post(uint64_t *word, uint64_t epoch, uint64_t value);
  /// Returns the word seen last.
  uint64_t collect(int64_t site, const uint64_t *word, uint64_t epoch,
                   const char *phase);
  /// Rejects a kernel that puts a row, at place `site` of its text, though a
  /// wait for other ranks or blocks has ended in vain: one that this fiber
  /// knows of, or one of its block at an earlier place, which should have kept
  /// the whole block from putting. At a later place others may wait while this
  /// fiber still puts.
  void checkMayPut(int64_t site, const char *what);
  /// Reports a kernel that breaks the rules, and abandons it.
  [[noreturn]] void reject(const char *format, ...)
      __attribute__((format(printf, 2, 3)));

  // Bulk copies.
  void initCounters(uint64_t *words, int64_t count, int64_t arrivals);
  void arriveAt(uint64_t *word, int64_t bytes);
  void waitForCounter(uint64_t *word, uint64_t parity);
  void fetch(char *to, const char *from, int64_t bytes, uint64_t *counter);
  void putStage(char *to, const char *from, int64_t bytes);
  void finishPuts(int64_t pending, bool onlyRead);

private:
  /// A wait of the running fiber, at place `site`, has ended in vain.
  void noteMiss(int64_t site) { noteMiss(*running, site); }
  void noteMiss(Fiber &fiber, int64_t site);
  /// Those of a block that meet tell each other of waits in vain.
  void shareMisses(const Meeting &meeting);

  struct FlagWait {
    Fiber *fiber;
    const uint64_t *flag;
    uint64_t value;
    int64_t peer;
    const char *phase;
  };

  /// For a word whose upper half is `tag`.
  struct CollectWait {
    Fiber *fiber;
    const uint64_t *word;
    uint64_t tag;
  };

  static void enter();
  void begin(int64_t blocks, int64_t threads, int64_t sharedBytes);
  void chooseSlow();
  void loop();
  void resume(Fiber &fiber);
  void block();
  void makeRunnable(Fiber *fiber) { runnable.push_back(fiber); }
  Fiber *pick();
  bool pollFlags();
  /// Nothing is runnable: returns false when nothing ever will be.
  bool idle();
  void giveUpWaits();
  void describeStuck();
  char *sharedOf(int64_t block) {
    return shared.data() + sharedStart + block * sharedStride;
  }

  Counter &counterAt(uint64_t *word);
  void endPhase(Counter &counter);
  void checkBulk(const char *stage, const char *other, int64_t bytes);
  void read(Copy &copy);
  void perform(size_t index);
  /// One step of a copy drawn by lot.
  void advanceCopies();
  void checkCopiesOf(Fiber &fiber);

  Kernel kernel = nullptr;
  void *captures = nullptr;
  int64_t numBlocks = 0, numThreads = 0, live = 0;
  std::vector<Fiber> fibers;
  std::vector<char *> stacks;
  std::vector<char> shared;
  int64_t sharedStart = 0, sharedStride = 0, sharedBytes = 0;
  std::vector<Fiber *> runnable;
  Fiber *running = nullptr;
  jmp_buf scheduler;
  bool isAbandoned = false;

  std::vector<Meeting> subgroupMeetings, blockMeetings;
  Meeting gridMeeting;
  std::vector<FlagWait> flagWaits;
  std::vector<CollectWait> collectWaits;
  /// Per block: whether a fiber knows of a wait in vain, while it meets others.
  std::vector<char> knowing;
  /// Per block: the first place where a wait has ended in vain.
  std::vector<int64_t> firstMiss;
  int64_t idleSince = 0, idleRounds = 0;
  std::map<uint64_t *, Counter> counters;
  std::vector<Copy> copies;

  Lot lot;
  uint64_t seed = 0, launches = 0;
  /// This launch: copies happen late; the rank sleeps around signals; the
  /// latest fiber to become runnable goes first.
  bool isLazy = false, isDrowsy = false, newestFirst = false;
  uint64_t numSleeps = 0;
  /// Some waits end at once, as if their time were up.
  bool hasLateSignals = false;
  Record error;
};

} // namespace moe::fibers

#endif // MOE_TEST_SUPPORT_FIBERS_GRID_H
