//===- Context.cpp - a rank's membership in a group -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Context.h"

#include "DeviceRecord.h"
#include "MessageCalls.h"
#include "Remains.h"
#include "moe-runtime/Arena.h"
#include "moe-runtime/HostBootstrap.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unistd.h>

using namespace moe::rt;

/// Ranks on different backends would not understand each other.
static Status agreeOnBackend(Bootstrap &bootstrap, const std::string &name) {
  struct Record {
    uint64_t hash;
    char name[56];
  };
  Record mine{hashText(name), {}};
  std::strncpy(mine.name, name.c_str(), sizeof(mine.name) - 1);
  std::vector<Record> all(bootstrap.size());
  if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;
  for (size_t r = 0; r < all.size(); ++r)
    if (all[r].hash != mine.hash)
      return makeError(MOERT_COLLECTIVE_MISMATCH,
                       "rank %d asks for the '%s' backend, but rank %zu for "
                       "'%s'",
                       bootstrap.rank(), name.c_str(), r, all[r].name)
          .of(bootstrap.rank())
          .aboutPeer(static_cast<int>(r))
          .expecting(name, all[r].name);
  return Status::ok();
}

/// The same map on all ranks.
static Expected<HostMap> findHosts(Bootstrap &bootstrap,
                                   const std::string &hostId) {
  if (hostId.empty())
    return HostMap::create(bootstrap);
  return HostMap::create(bootstrap, HostIdentity::find(hostId.c_str()));
}

Status ContextOptions::check() const {
  if (std::isfinite(timeoutSeconds) && timeoutSeconds > 0 &&
      timeoutSeconds <= 1e6)
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT,
                   "the time-out is not a positive number of seconds: %g",
                   timeoutSeconds);
}

Expected<std::unique_ptr<Context>>
Context::create(std::unique_ptr<Bootstrap> bootstrap,
                const ContextOptions &options) {
  if (Status s = options.check(); !s.isOk())
    return s;
  sweepRemains();
  std::unique_ptr<Context> context(new Context());
  context->options = options;
  context->bootstrap = std::move(bootstrap);
  Bootstrap &boot = *context->bootstrap;
  boot.setTimeout(options.timeoutSeconds);
  auto failed = [&](const Status &status) { return context->prefixed(status); };

  auto hosts = findHosts(boot, options.hostId);
  if (!hosts.isOk())
    return failed(hosts.status());
  context->hostMap = hosts.take();
  if (!context->hostMap.isOneHost())
    context->hostBootstrap = createHostBootstrap(boot, context->hostMap);
  Bootstrap &onHost = context->onHost();
  auto control = GroupControl::create(boot, onHost, context->hostMap);
  if (!control.isOk())
    return failed(control.status());
  context->group = control.take();
  if (Status s = agreeOnBackend(boot, options.backend); !s.isOk())
    return failed(s);
  auto backend = createBackend(options.backend, onHost, options.device);
  if (Status s = agreeStatus(boot, backend.status()); !s.isOk())
    return failed(s);
  context->backend = backend.take();
  context->arena = context->backend->createMemory();
  context->hostArena = context->backend->isAsynchronous()
                           ? std::make_shared<Arena>()
                           : context->arena;
  auto heap = SymmetricHeap::create(*context->backend, onHost,
                                    options.symmReserveBytes);
  Status status = heap.status();
  // Ranks of one host have heard of each other's errors.
  if (!context->hostMap.isOneHost())
    status = agreeStatus(boot, status);
  if (!status.isOk())
    return failed(status);
  context->symmHeap = heap.take();
  return context;
}

Context::Context() : process(getpid()) {}

Context::~Context() {
  if (!refuseIfForked().isOk()) {
    // The group, its memory and the device belong to the parent, and locks that
    // its other threads held are held for ever here. What is leaked goes with
    // the process.
    (void)group.release();
    (void)backend.release();
    (void)symmHeap.release();
    (void)messages.release();
    (void)hostBootstrap.release();
    (void)bootstrap.release();
    for (auto *list : {&artifacts, &retired})
      for (std::unique_ptr<Artifact> &artifact : *list)
        (void)artifact.release();
    for (std::shared_ptr<Memory> *memory : {&arena, &hostArena})
      new std::shared_ptr<Memory>(std::move(*memory));
    return;
  }
  // Others stop waiting for this rank before it begins to take memory down.
  if (group)
    group->leave();
  // A transport ends its kernels itself, with a bound.
  messages.reset();
  // Kernels may be using what is taken down next. Their waits end by themselves
  // before this.
  if (backend)
    backend->settle(2 * options.timeoutSeconds + 6);
  if (backend && backend->numGraphs() > 0)
    leaveToGraphs();
  sweepRemains();
}

/// A graph may be replayed after the context is gone: what its launches use
/// stays. Their kernels do not wait for ranks that may never come.
void Context::leaveToGraphs() {
  stopAllKernels();
  Remains remains{std::move(backend), std::move(symmHeap), std::move(artifacts),
                  std::move(arena)};
  for (std::unique_ptr<Artifact> &artifact : retired)
    remains.artifacts.push_back(std::move(artifact));
  keepRemains(std::move(remains));
}

/// Every message begins with the rank that has it.
Status Context::prefixed(const Status &status) const {
  if (status.isOk())
    return status;
  std::string prefix = format("rank %d", rank());
  Status mine = status.of(rank());
  if (mine.message().rfind(prefix + ": ", 0) == 0)
    return mine;
  return mine.withPrefix(prefix);
}

Status Context::refuseIfForked() const {
  if (getpid() == process)
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT,
                   "rank %d is process %d; this is process %d, a fork of it, "
                   "which has to join a group with a context of its own",
                   rank(), int(process), int(getpid()))
      .of(rank())
      .expecting(format("process %d", int(process)),
                 format("process %d", int(getpid())));
}

Status Context::refuseIfFailed() const {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  Status error = group->groupError();
  if (error.isOk())
    return error;
  return error.withMessage(format("rank %d: the group has failed and must "
                                  "be reset on all ranks first; ",
                                  rank()) +
                           error.message());
}

/// Begins an operation and meets the other ranks in it.
Status Context::runGroupOp(const GroupOp &op) {
  group->beginGroupOp(op);
  bool raised = false;
  // A driver that compiles kernels may take longer than any wait in them.
  double timeout = options.timeoutSeconds;
  if (backend->isAsynchronous() && op.kind == GroupOp::Load)
    timeout = std::max(timeout, 60.0);
  Status status = group->agree(op, timeout, raised);
  if (raised && !status.isOk())
    group->raise(status);
  return prefixed(status);
}

/// A group cannot go on without one of its ranks.
Status Context::refuseIfIncomplete() const {
  Status gone;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank())
      continue;
    // One that has died tells more than one that has left because of it.
    Status status = group->checkAlive(peer);
    if (!status.isOk() && (gone.isOk() || !group->hasLeft(peer)))
      gone = status;
  }
  if (gone.isOk())
    return gone;
  return gone.withMessage("the group cannot be reset: " + gone.message() +
                          "; the ranks that are left have to make a new group");
}

Status Context::reset() {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  if (busy)
    return prefixed(Status(MOERT_INVALID_ARGUMENT, "a call is running"));
  if (Status s = refuseIfLost(); !s.isOk())
    return s;
  auto done = backend->isDone(StreamRef{});
  if (!done.isOk())
    return prefixed(done.status());
  if (!*done)
    return prefixed(Status(MOERT_INVALID_ARGUMENT, "a kernel is running"));
  if (Status s = refuseIfIncomplete(); !s.isOk())
    return prefixed(s);
  if (Status s = group->reset(*bootstrap); !s.isOk()) {
    // One that has died meanwhile is the better explanation.
    Status incomplete = refuseIfIncomplete();
    return prefixed(incomplete.isOk()
                        ? s.withPrefix("meeting all ranks for the reset")
                        : incomplete);
  }
  // Signals and epochs of broken calls are in the workspaces.
  Status status;
  for (const std::unique_ptr<Artifact> &artifact : artifacts) {
    if (artifact->workspace && status.isOk())
      status =
          backend->zero(artifact->workspace, artifact->manifest().symmBytes);
    if (artifact->program)
      clearRecord(artifact->program->record());
    for (Entry &entry : artifact->entries())
      entry.verified = false;
  }
  if (messages && messages->labels)
    messages->labels->reset();
  if (messages)
    if (Status s = messages->exchanger->reset(*bootstrap); status.isOk())
      status = s;
  return prefixed(agreeStatus(*bootstrap, status));
}

Status Context::fail(const Status &status) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  Status error = prefixed(status);
  group->raise(error);
  return error;
}

Expected<char *> Context::symmAlloc(size_t bytes) {
  if (Status s = refuseIfFailed(); !s.isOk())
    return s;
  std::string what =
      format("allocation of %zu bytes of symmetric memory", bytes);
  // All ranks see alike that not all of them share memory.
  if (!hostMap.isOneHost())
    return prefixed(
        makeError(MOERT_UNAVAILABLE,
                  "the %s needs ranks that share memory, but the group has %d "
                  "hosts, %s; artifacts for several hosts, compiled with "
                  "--transport=messages or --target nccl, take ordinary memory",
                  what.c_str(), hostMap.numHosts(), hostMap.describe().c_str())
            .expecting("one host", hostMap.describe()));
  Status status = runGroupOp({GroupOp::SymmAlloc, bytes, what, Status::ok()});
  char *address = nullptr;
  if (status.isOk()) {
    auto block = symmHeap->allocate(bytes);
    status = prefixed(block.status().withPrefix(what));
    if (block.isOk())
      address = *block;
  }
  group->endGroupOp();
  if (!status.isOk())
    return status;
  return address;
}

Status Context::symmFree(void *address) {
  if (Status s = refuseIfFailed(); !s.isOk())
    return s;
  auto offset = uint64_t(static_cast<char *>(address) - heap().slice(rank()));
  Status local;
  if (!address)
    local = Status(MOERT_INVALID_ARGUMENT, "no block of the symmetric heap");
  std::string what = format("release of symmetric memory at offset %llu",
                            (unsigned long long)offset);
  Status status = runGroupOp({GroupOp::SymmFree, offset, what, local});
  if (status.isOk())
    status = prefixed(symmHeap->free(address).withPrefix(what));
  group->endGroupOp();
  return status;
}
