//===- Communicator.cpp - a communicator of NCCL --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Communicator.h"

#include "Core/BoundedCall.h"
#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

using namespace moe::rt;
using namespace moe::rt::nccl;

/// How long NCCL is polled without a pause.
static constexpr int64_t spinNs = 100000;
/// NCCL that takes longer to queue a call waits for a rank.
static constexpr int64_t queueNs = 1000000000;

static void pauseUs(int us) {
  std::this_thread::sleep_for(std::chrono::microseconds(us));
}

Communicator::Communicator(const Library &library,
                           const CommunicatorGroup &group)
    : library(library), group(group), rank(group.bootstrap.rank()) {}

/// Of the communicator, or of the attempt to ask for it.
Result Communicator::state() const {
  Result now = success;
  Result asked = library.commGetAsyncError(handle, &now);
  return asked == success ? now : asked;
}

Status Communicator::error(Result result, const char *what) const {
  moert_code code = result == remoteError   ? MOERT_PEER_FAILED
                    : result == systemError ? MOERT_IO
                                            : MOERT_INTERNAL;
  return makeError(code, "%s: NCCL on rank %d (host %s) reports %s", what, rank,
                   group.hosts.nameOf(group.hosts.hostOf(rank)).c_str(),
                   library.describe(result, handle).c_str())
      .of(rank);
}

static Status givenUp() {
  return Status(MOERT_PEER_FAILED, "the NCCL communicator has been given up "
                                   "after an error: reset the group");
}

Look Communicator::follow(Result result) const {
  return [=] { return result == inProgress ? state() : result; };
}

Look Communicator::onThread(std::function<Result()> call) {
  struct Call {
    Result result = inProgress;
    std::atomic<bool> hasEnded{false};
  };
  auto shared = std::make_shared<Call>();
  auto begun = BoundedCall::begin([shared, gpu = group.gpu, call] {
    cuda::Current here(*gpu);
    shared->result = call();
    shared->hasEnded = true;
  });
  if (!begun.isOk())
    return follow(systemError);
  return [=]() -> Result {
    if (!shared->hasEnded)
      return inProgress;
    // One that does not block is carried out after its call.
    return shared->result == inProgress ? state() : shared->result;
  };
}

Result Communicator::waitFor(const Look &look, double seconds) {
  Deadline deadline(seconds);
  Result result = look();
  while (result == inProgress && !deadline.isOver()) {
    pauseUs(200);
    result = look();
  }
  return result;
}

Status Communicator::timeOut() const {
  return makeError(MOERT_TIMEOUT,
                   "NCCL on rank %d (host %s) has not connected to all of the "
                   "%d ranks within %g s; NCCL_DEBUG=INFO shows which network "
                   "it uses, NCCL_SOCKET_IFNAME chooses another",
                   rank, group.hosts.nameOf(group.hosts.hostOf(rank)).c_str(),
                   group.bootstrap.size(), group.setupSeconds)
      .of(rank);
}

Status Communicator::completeTogether(const Look &look, const char *what) {
  enum Progress : int8_t { Done, Waiting, Failed };
  Bootstrap &bootstrap = group.bootstrap;
  Result result = inProgress;
  Deadline deadline(group.setupSeconds);
  std::vector<int8_t> all(bootstrap.size());
  for (double seconds = 0.05;; seconds = 0.25) {
    if (result == inProgress)
      result = waitFor(look, std::min(seconds, group.setupSeconds));
    Status status;
    if (result == inProgress && deadline.isOver())
      status = timeOut();
    else if (result != success && result != inProgress)
      status = error(result, what);
    hasFailed |= !status.isOk();
    int8_t mine = !status.isOk() ? Failed : result == success ? Done : Waiting;
    if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
        !s.isOk())
      return status.isOk() ? s : status;
    if (std::count(all.begin(), all.end(), Failed))
      return agreeStatus(bootstrap, status);
    if (!std::count(all.begin(), all.end(), Waiting))
      return Status::ok();
  }
}

Status Communicator::finish(Result result, const char *what,
                            ExchangeGuard &guard) {
  return finish(follow(result), what, guard);
}

Status Communicator::finish(const Look &look, const char *what,
                            ExchangeGuard &guard) {
  if (!handle)
    return givenUp();
  Result result = look();
  int size = group.bootstrap.size(), peer = rank;
  WaitClock clock;
  while (result == inProgress) {
    // A rank that has left has done its part, unless NCCL goes on to wait; it
    // does not say for which rank, so each is looked at in turn.
    int64_t waited = clock.elapsedNs();
    if (waited > queueNs)
      peer = (peer + 1) % size;
    if (Status s = guard.check(peer); !s.isOk()) {
      hasFailed = true;
      return s;
    }
    if (waited > spinNs)
      pauseUs(20);
    result = look();
  }
  if (result == success)
    return Status::ok();
  hasFailed = true;
  return error(result, what);
}

Status Communicator::poll() {
  if (!handle)
    return hasFailed ? givenUp() : Status::ok();
  Result now = state();
  if (now == success || now == inProgress)
    return Status::ok();
  hasFailed = true;
  return error(now, "an asynchronous error");
}
