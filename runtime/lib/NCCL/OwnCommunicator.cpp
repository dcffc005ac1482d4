//===- OwnCommunicator.cpp - a communicator that the runtime makes --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OwnCommunicator.h"

#include "Core/BoundedCall.h"

#include <algorithm>
#include <unistd.h>
#include <utility>

using namespace moe::rt;
using namespace moe::rt::nccl;

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

OwnCommunicator::OwnCommunicator(const Library &library,
                                 const CommunicatorGroup &group)
    : Communicator(library, group), process(getpid()) {}

Status OwnCommunicator::makeId(UniqueId &id) {
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

/// Collective.
Status OwnCommunicator::connect(const UniqueId &id) {
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
OwnCommunicator::create(const Library &library,
                        const CommunicatorGroup &group) {
  Bootstrap &bootstrap = group.bootstrap;
  std::unique_ptr<OwnCommunicator> made(new OwnCommunicator(library, group));
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
  return std::unique_ptr<Communicator>(std::move(made));
}

/// A communicator that does not block starts a thread for each group of calls:
/// some 40 us on an H200 with NCCL 2.28. Its child shares connections, buffers
/// and the flag of an abort, so that the parent can still give both up.
Status OwnCommunicator::makeBlocking() {
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

//===----------------------------------------------------------------------===//
// End
//===----------------------------------------------------------------------===//

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

/// Whether the child has done all that was queued, and is gone.
bool OwnCommunicator::endChild() {
  auto ended = onThread([api = &library, last = handle] {
    Result result = api->commFinalize(last);
    return result == success ? api->commDestroy(last) : result;
  });
  if (waitFor(ended, group.endSeconds) != success)
    return false;
  handle = std::exchange(parent, nullptr);
  return true;
}

/// Waits until everything that has been queued is done and sent.
bool OwnCommunicator::finalize() {
  Look finalized = follow(library.commFinalize(handle));
  return waitFor(finalized, group.endSeconds) == success;
}

OwnCommunicator::~OwnCommunicator() {
  if (!handle || getpid() != process)
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

void OwnCommunicator::abandon() {
  hasFailed = true;
  CommHandle last = handle, first = parent;
  if (!last || getpid() != process)
    return;
  handle = parent = nullptr;
  runBounded(std::min(abortSeconds, group.endSeconds), group.gpu,
             [api = &library, last, first, child = child] {
               api->commAbort(last);
               if (first)
                 api->commAbort(first);
             });
}
