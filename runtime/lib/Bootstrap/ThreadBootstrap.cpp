//===- ThreadBootstrap.cpp - ranks that are threads of one process --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/Deadline.h"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fcntl.h>

using namespace moe::rt;

namespace {
/// Where the threads of a group meet.
struct ThreadMeeting {
  explicit ThreadMeeting(int size) : inputs(size), arrived(size) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> inputs;
  std::vector<bool> arrived;
  size_t numArrived = 0;
  std::vector<std::string> results; ///< of the last complete round
  uint64_t round = 0;
  Status failed;
  LocalGroup local;
};

class ThreadBootstrap : public Bootstrap {
public:
  ThreadBootstrap(std::shared_ptr<ThreadMeeting> meeting, int rank, int size)
      : meeting(std::move(meeting)), myRank(rank), groupSize(size) {}

  /// A rank that is gone will not arrive.
  ~ThreadBootstrap() override {
    std::lock_guard<std::mutex> lock(meeting->mutex);
    if (meeting->failed.isOk())
      meeting->failed = makeError(MOERT_PEER_FAILED, "rank %d has left", myRank)
                            .aboutPeer(myRank);
    meeting->changed.notify_all();
  }

  int rank() const override { return myRank; }
  int size() const override { return groupSize; }
  LocalGroup *localGroup() override { return &meeting->local; }

  Status allGather(const void *in, size_t bytes, void *out) override {
    std::unique_lock<std::mutex> lock(meeting->mutex);
    if (!meeting->failed.isOk())
      return meeting->failed;
    meeting->inputs[myRank].assign(static_cast<const char *>(in), bytes);
    meeting->arrived[myRank] = true;
    if (++meeting->numArrived == size_t(groupSize)) {
      meeting->results.swap(meeting->inputs);
      meeting->inputs.assign(groupSize, {});
      meeting->arrived.assign(groupSize, false);
      meeting->numArrived = 0;
      ++meeting->round;
      meeting->changed.notify_all();
    } else if (Status s = waitForOthers(lock); !s.isOk()) {
      return s;
    }
    for (int r = 0; r < groupSize; ++r) {
      const std::string &theirs = meeting->results[r];
      if (theirs.size() != bytes)
        return makeError(MOERT_COLLECTIVE_MISMATCH,
                         "rank %d gathers %zu bytes, but rank %d gathers %zu",
                         myRank, bytes, r, theirs.size());
      std::memcpy(static_cast<char *>(out) + bytes * r, theirs.data(), bytes);
    }
    return Status::ok();
  }

  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    std::vector<int> fds(groupSize);
    if (Status s = allGather(&fd, sizeof(fd), fds.data()); !s.isOk())
      return s;
    out.clear();
    Status status;
    for (int theirs : fds) {
      out.emplace_back(theirs < 0 ? -1 : fcntl(theirs, F_DUPFD_CLOEXEC, 0));
      if (theirs >= 0 && !out.back().isValid())
        status = makeOsError(MOERT_IO, errno, "cannot duplicate a descriptor");
    }
    // Nobody closes its descriptor before all have duplicated it.
    Status met = barrier();
    return status.isOk() ? met : status;
  }

private:
  Status waitForOthers(std::unique_lock<std::mutex> &lock) {
    uint64_t round = meeting->round;
    auto isOver = [&] {
      return meeting->round != round || !meeting->failed.isOk();
    };
    bool inTime = false;
    for (Deadline deadline(timeout); !inTime && !deadline.isOver();)
      inTime = meeting->changed.wait_for(
          lock, std::chrono::milliseconds(deadline.sliceMs()), isOver);
    if (meeting->round != round)
      return Status::ok();
    if (!inTime) {
      std::vector<int> missing;
      for (int r = 0; r < groupSize; ++r)
        if (!meeting->arrived[r])
          missing.push_back(r);
      meeting->failed =
          makeError(MOERT_TIMEOUT, "%s did not arrive within %g s",
                    listRanks(missing).c_str(), timeout)
              .aboutPeer(missing.empty() ? -1 : missing.front());
      meeting->changed.notify_all();
    }
    return meeting->failed;
  }

  std::shared_ptr<ThreadMeeting> meeting;
  int myRank;
  int groupSize;
};
} // namespace

std::vector<std::unique_ptr<Bootstrap>>
moe::rt::createThreadBootstraps(int size) {
  auto meeting = std::make_shared<ThreadMeeting>(size);
  std::vector<std::unique_ptr<Bootstrap>> all;
  for (int r = 0; r < size; ++r)
    all.push_back(std::make_unique<ThreadBootstrap>(meeting, r, size));
  return all;
}
