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
#include <unistd.h>
#include <utility>

using namespace moe::rt;
using namespace moe::rt::nccl;

/// How long NCCL is polled without a pause.
static constexpr int64_t spinNs = 100000;
/// NCCL that takes longer to queue a call waits for a rank.
static constexpr int64_t queueNs = 1000000000;

static void pauseUs(int us) {
  std::this_thread::sleep_for(std::chrono::microseconds(us));
}

/// Runs a call of NCCL that may block for ever, and waits for it as long as the
/// bound says. A call that is still running then is left behind.
static void runBounded(double seconds, std::shared_ptr<cuda::Gpu> gpu,
                       std::function<void()> call) {
  auto body = [gpu = std::move(gpu), call = std::move(call)] {
    cuda::Current here(*gpu);
    // A thread that captures a stream is not to keep NCCL from freeing memory.
    cuda::RelaxedCapture relaxed(gpu->driver());
    call();
  };
  auto begun = BoundedCall::begin(body);
  // Without a thread it is better to wait than to leak the communicator.
  if (begun.isOk())
    (void)begun->wait(seconds);
  else
    body();
}

//===----------------------------------------------------------------------===//
// The runtime's own
//===----------------------------------------------------------------------===//

Communicator::Communicator(const Library &library,
                           const CommunicatorGroup &group, bool borrowed)
    : library(library), group(group), borrowed(borrowed),
      rank(group.bootstrap.rank()), process(getpid()) {}

Status Communicator::makeId(UniqueId &id) {
  if (!library.commInitRankConfig || !library.commFinalize)
    return makeError(MOERT_UNAVAILABLE,
                     "%s cannot make communicators whose set-up can be given "
                     "up: install %s or later, or lend a communicator "
                     "(moert_options.nccl_comm)",
                     library.str().c_str(),
                     versionText(Library::oldestOwnVersion).c_str());
  if (rank != 0)
    return Status::ok();
  Result result = library.getUniqueId(&id);
  return result == success ? Status::ok()
                           : error(result, "making the unique id");
}

/// NCCL itself notices this late, or not at all.
static Status checkVersions(const Bootstrap &bootstrap,
                            const std::vector<int32_t> &versions) {
  for (size_t other = 1; other < versions.size(); ++other)
    if (versions[other] != versions[0])
      return makeError(MOERT_UNAVAILABLE,
                       "rank 0 has NCCL %s, but rank %zu has %s: install the "
                       "same on all hosts",
                       versionText(versions[0]).c_str(), other,
                       versionText(versions[other]).c_str())
          .of(bootstrap.rank())
          .aboutPeer(static_cast<int>(other))
          .expecting(versionText(versions[0]), versionText(versions[other]));
  return Status::ok();
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
  Result result = look();
  Deadline deadline(group.setupSeconds);
  std::vector<int8_t> all(bootstrap.size());
  for (double seconds = 0.05;; seconds = 0.25) {
    Deadline round(std::min(seconds, group.setupSeconds));
    while (result == inProgress && !round.isOver()) {
      pauseUs(200);
      result = look();
    }
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

/// Collective.
Status Communicator::connect(const UniqueId &id) {
  Config config(library.version);
  // A blocking one cannot be given up while it waits for a rank.
  config.blocking = 0;
  if (library.canSplit())
    config.splitShare = 1;
  cuda::Current here(*group.gpu);
  Result begun = library.commInitRankConfig(&handle, group.bootstrap.size(), id,
                                            rank, &config);
  return completeTogether(follow(begun), "making a communicator");
}

Expected<std::unique_ptr<Communicator>>
Communicator::create(const Library &library, const CommunicatorGroup &group) {
  Bootstrap &bootstrap = group.bootstrap;
  std::unique_ptr<Communicator> made(
      new Communicator(library, group, /*borrowed=*/false));
  UniqueId id{};
  if (Status s = agreeStatus(bootstrap, made->makeId(id)); !s.isOk())
    return s;
  struct Offer {
    int32_t version;
    UniqueId id;
  };
  Offer mine{library.version, id};
  std::vector<Offer> all(bootstrap.size());
  if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;
  std::vector<int32_t> versions;
  for (const Offer &offer : all)
    versions.push_back(offer.version);
  if (Status s = checkVersions(bootstrap, versions); !s.isOk())
    return s;
  if (Status s = made->connect(all[0].id); !s.isOk()) {
    made->hasFailed = true;
    return s;
  }
  return made;
}

/// A communicator that does not block starts a thread for each group of calls:
/// some 40 us on an H200 with NCCL 2.28. Its child shares connections, buffers
/// and the flag of an abort, so that the parent can still give both up.
Status Communicator::makeBlocking() {
  if (!library.canSplit())
    return Status::ok();
  child = std::make_shared<CommHandle>(nullptr);
  Config config(library.version);
  config.blocking = 1;
  cuda::Current here(*group.gpu);
  Result begun = library.commSplit(handle, /*color=*/0, /*key=*/rank,
                                   child.get(), &config);
  // NCCL returns success as soon as it has begun to.
  if (begun == success)
    begun = inProgress;
  if (Status s = completeTogether(follow(begun), "splitting a communicator");
      !s.isOk())
    return s;
  parent = handle;
  handle = *child;
  return Status::ok();
}

/// Whether the child has done all that was queued, and is gone.
bool Communicator::endChild() {
  auto ended = onThread([api = &library, last = handle] {
    Result result = api->commFinalize(last);
    return result == success ? api->commDestroy(last) : result;
  });
  Deadline deadline(group.endSeconds);
  Result result = ended();
  for (; result == inProgress && !deadline.isOver(); result = ended())
    pauseUs(200);
  if (result != success)
    return false;
  handle = std::exchange(parent, nullptr);
  return true;
}

/// Waits until everything that has been queued is done and sent.
bool Communicator::finalize() {
  Result result = library.commFinalize(handle);
  Deadline deadline(group.endSeconds);
  while (result == inProgress && !deadline.isOver()) {
    pauseUs(200);
    result = state();
  }
  return result == success;
}

Communicator::~Communicator() {
  if (borrowed || !handle || getpid() != process)
    return;
  cuda::Current here(*group.gpu);
  if (hasFailed || state() != success || (parent && !endChild()) ||
      !finalize()) {
    abandon();
    return;
  }
  runBounded(group.endSeconds, group.gpu,
             [api = &library, handle = handle] { api->commDestroy(handle); });
}

/// Kernels end early in an abort. The call itself goes on until the last graph
/// that has captured an exchange is destroyed, which nobody here waits for.
static constexpr double abortSeconds = 2;

void Communicator::abandon() {
  hasFailed = true;
  CommHandle last = handle, first = parent;
  if (borrowed || !last || getpid() != process)
    return;
  handle = parent = nullptr;
  runBounded(std::min(abortSeconds, group.endSeconds), group.gpu,
             [api = &library, last, first, child = child] {
               api->commAbort(last);
               if (first)
                 api->commAbort(first);
             });
}

//===----------------------------------------------------------------------===//
// One that is lent
//===----------------------------------------------------------------------===//

Status Communicator::checkLoan() const {
  if (!handle)
    return makeError(
        MOERT_INVALID_ARGUMENT,
        "the NCCL communicator that rank %d lends is null: torch makes it in "
        "the group's first collective, unless init_process_group has been "
        "given device_id; pass device_id, or lend none, so that the runtime "
        "makes its own",
        rank);
  if (library.isOurs)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "rank %d lends a communicator of NCCL, but no "
                     "libnccl.so.2 had been loaded when the runtime opened "
                     "%s: it belongs to an NCCL that is linked into the "
                     "program, or to a library that has been loaded since; "
                     "load that one before the first group, or lend none, so "
                     "that the runtime makes its own",
                     rank, library.str().c_str());
  // NCCL answers no question while it carries out a call.
  Deadline deadline(group.endSeconds);
  Result now = state();
  for (; now == inProgress && !deadline.isOver(); now = state())
    pauseUs(200);
  if (now != success)
    return error(now, "looking at the communicator that is lent");
  struct Fact {
    const char *what;
    Result (*ask)(CommHandle, int *);
    int expected;
  };
  for (const Fact &fact :
       {Fact{"rank", library.commUserRank, rank},
        Fact{"number of ranks", library.commCount, group.bootstrap.size()},
        Fact{"GPU", library.commCuDevice, group.gpu->ordinal()}}) {
    int seen = -1;
    if (Result result = fact.ask(handle, &seen); result != success)
      return error(result, "looking at the communicator that is lent");
    if (seen != fact.expected)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "the NCCL communicator that rank %d lends does not fit "
                       "the group: its %s is %d, expected %d; lend the one of "
                       "the same ranks in the same order, on the same GPUs",
                       rank, fact.what, seen, fact.expected)
          .of(rank)
          .expecting(std::to_string(fact.expected), std::to_string(seen));
  }
  return Status::ok();
}

Expected<std::unique_ptr<Communicator>>
Communicator::borrow(const Library &library, const CommunicatorGroup &group,
                     void *handle) {
  std::unique_ptr<Communicator> made(
      new Communicator(library, group, /*borrowed=*/true));
  made->handle = static_cast<CommHandle>(handle);
  if (Status s = agreeStatus(group.bootstrap, made->checkLoan()); !s.isOk())
    return s;
  return made;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

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
