//===- Calls.cpp - what kernels on fibers call ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Grid.h"
#include "moe-runtime/ArtifactABI.h"

#include <cstring>

using namespace moe::fibers;

#define MOE_FIBER_EXPORT extern "C" __attribute__((visibility("default")))

static Grid grid;

MOE_FIBER_EXPORT void moe_fiber_launch(Kernel kernel, void *captures,
                                       int64_t blocks, int64_t threads,
                                       int64_t sharedBytes) {
  grid.run(kernel, captures, blocks, threads, sharedBytes);
  if (!grid.hasFailed())
    return;
  const Record &error = grid.record();
  if (error.phase)
    moert_phase(error.phase);
  // A rank that saw another one fail tells less than that rank will.
  static const uint64_t never = 0;
  if (error.code == MOERT_PEER_FAILED)
    moert_wait(&never, 1, error.peer);
  moert_fail(error.code, error.what, error.least, error.most, error.seen,
             error.peer, error.token, error.slot);
}

//===----------------------------------------------------------------------===//
// Meetings
//===----------------------------------------------------------------------===//

MOE_FIBER_EXPORT void moe_fiber_yield() { grid.yield(); }

MOE_FIBER_EXPORT void moe_fiber_pause() { grid.pause(); }

MOE_FIBER_EXPORT void moe_fiber_barrier(int64_t site) {
  grid.meetBlock("a barrier", site, nullptr);
}

MOE_FIBER_EXPORT int64_t moe_fiber_barrier_and(int64_t site,
                                               int64_t condition) {
  grid.self().args[0] = condition;
  grid.meetBlock("a vote of a block", site, [](Grid &, Meeting &meeting) {
    uint64_t all = 1;
    for (Fiber *fiber : meeting.there)
      all &= fiber->args[0] != 0;
    for (Fiber *fiber : meeting.there)
      fiber->result = all;
  });
  return grid.self().result;
}

MOE_FIBER_EXPORT void moe_fiber_sync_subgroup(int64_t site) {
  grid.meetSubgroup("a barrier of a subgroup", site, nullptr);
}

MOE_FIBER_EXPORT int64_t moe_fiber_shuffle(int64_t site, int64_t value,
                                           int64_t lane) {
  grid.self().args[0] = value;
  grid.self().args[1] = lane;
  grid.meetSubgroup("a shuffle", site, [](Grid &, Meeting &meeting) {
    for (Fiber *fiber : meeting.there)
      meeting.values[fiber->lane()] = fiber->args[0];
    for (Fiber *fiber : meeting.there)
      fiber->result = meeting.values[fiber->args[1] % kSubgroupSize];
  });
  return grid.self().result;
}

MOE_FIBER_EXPORT int64_t moe_fiber_ballot(int64_t site, int64_t condition) {
  grid.self().args[0] = condition;
  grid.meetSubgroup("a vote", site, [](Grid &, Meeting &meeting) {
    uint64_t mask = 0;
    for (Fiber *fiber : meeting.there)
      mask |= fiber->args[0] << fiber->lane();
    for (Fiber *fiber : meeting.there)
      fiber->result = mask;
  });
  return grid.self().result;
}

MOE_FIBER_EXPORT int64_t moe_fiber_sum(int64_t site, int64_t value) {
  grid.self().args[0] = value;
  grid.meetSubgroup("a sum", site, [](Grid &, Meeting &meeting) {
    uint64_t sum = 0;
    for (Fiber *fiber : meeting.there)
      sum += fiber->args[0];
    for (Fiber *fiber : meeting.there)
      fiber->result = sum;
  });
  return grid.self().result;
}

MOE_FIBER_EXPORT int64_t moe_fiber_grid_barrier(int64_t site) {
  return grid.meetGrid("a barrier of the grid", site);
}

MOE_FIBER_EXPORT void moe_fiber_post(uint64_t *word, uint64_t epoch,
                                     uint64_t value) {
  grid.post(word, epoch, value);
}

MOE_FIBER_EXPORT uint64_t moe_fiber_collect(int64_t site, const uint64_t *word,
                                            uint64_t epoch, const char *phase) {
  return grid.collect(site, word, epoch, phase);
}

MOE_FIBER_EXPORT int64_t moe_fiber_take(int64_t *counter) {
  grid.yield();
  return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

//===----------------------------------------------------------------------===//
// Other ranks and errors
//===----------------------------------------------------------------------===//

MOE_FIBER_EXPORT uint64_t moe_fiber_wait(int64_t site, const uint64_t *flag,
                                         uint64_t value, int64_t peer,
                                         const char *phase) {
  return grid.waitForFlag(site, flag, value, peer, phase);
}

MOE_FIBER_EXPORT void moe_fiber_record(int64_t code, const char *what,
                                       const char *phase, int64_t least,
                                       int64_t most, int64_t seen, int64_t peer,
                                       int64_t token, int64_t slot) {
  grid.recordError({code, what, phase, least, most, seen, peer, token, slot});
}

MOE_FIBER_EXPORT int64_t moe_fiber_failed() { return grid.hasFailed(); }

/// Each lane copies its part of the row to all destinations, which the lanes
/// have told each other. A row that has come from another rank (`coherent`) may
/// go on after waits of other subgroups that ended in vain, but not after one
/// of this.
MOE_FIBER_EXPORT void moe_fiber_put_each(int64_t site, const char *source,
                                         char *target, int64_t bytes,
                                         int64_t lanes, int64_t rotation,
                                         int64_t member, int64_t team,
                                         int64_t coherent) {
  Fiber &self = grid.self();
  if (target && self.lane() < lanes)
    grid.checkMayPut(coherent ? 0 : site, "a put");
  self.args[0] = self.lane() < lanes ? reinterpret_cast<uint64_t>(target) : 0;
  self.args[1] = reinterpret_cast<uint64_t>(source);
  Meeting &meeting =
      grid.meetSubgroup("a put", site, [](Grid &grid, Meeting &meeting) {
        for (Fiber *fiber : meeting.there) {
          meeting.values[fiber->lane()] = fiber->args[0];
          if (fiber->args[1] != meeting.there.front()->args[1])
            grid.reject("the lanes of a put name different rows");
        }
      });
  int64_t parts = team * kSubgroupSize;
  int64_t part = member * kSubgroupSize + self.lane();
  int64_t begin = bytes * part / parts, end = bytes * (part + 1) / parts;
  for (int64_t i = 0; i < lanes; ++i)
    if (uint64_t to = meeting.values[(rotation + i) % lanes])
      memcpy(reinterpret_cast<char *>(to) + begin, source + begin, end - begin);
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

MOE_FIBER_EXPORT void moe_fiber_stage_init(uint64_t *counters, int64_t count,
                                           int64_t arrivals) {
  grid.initCounters(counters, count, arrivals);
}

MOE_FIBER_EXPORT void moe_fiber_stage_expect(uint64_t *counter, int64_t bytes) {
  grid.arriveAt(counter, bytes);
}

MOE_FIBER_EXPORT void moe_fiber_stage_arrive(uint64_t *counter) {
  grid.arriveAt(counter, 0);
}

MOE_FIBER_EXPORT void moe_fiber_stage_wait(uint64_t *counter, int64_t parity) {
  grid.waitForCounter(counter, parity);
}

MOE_FIBER_EXPORT void moe_fiber_fetch(char *stage, const char *source,
                                      int64_t bytes, uint64_t *counter) {
  grid.fetch(stage, source, bytes, counter);
}

/// Each lane copies the whole row to its own destination.
MOE_FIBER_EXPORT void moe_fiber_put_stage(int64_t site, const char *source,
                                          char *target, int64_t bytes,
                                          int64_t lanes) {
  grid.meetSubgroup("a put from a stage", site, nullptr);
  ++grid.self().numPuts;
  if (target && grid.self().lane() < lanes) {
    grid.checkMayPut(site, "a put");
    grid.putStage(target, source, bytes);
  }
}

MOE_FIBER_EXPORT void moe_fiber_put_wait(int64_t site, int64_t pending,
                                         int64_t onlyRead) {
  grid.finishPuts(pending, onlyRead);
  grid.meetSubgroup("a wait for puts", site, nullptr);
}
