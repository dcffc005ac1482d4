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
    new std::shared_ptr<Memory>(std::move(arena));
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

Status Context::checkLoadable(const Manifest &manifest) {
  if (Status s = backend->checkArtifact(manifest); !s.isOk())
    return s;
  if (manifest.ranks != 0 && manifest.ranks != size())
    return makeError(MOERT_ABI_MISMATCH,
                     "the artifact is for %lld ranks, but the group has %d",
                     (long long)manifest.ranks, size());
  return checkTransport(manifest);
}

/// All ranks have read the same bytes. What else differs, such as the name,
/// may.
Status Context::agreeOnBytes(const Artifact &artifact) {
  std::vector<Digest> digests(size());
  const Digest &mine = artifact.digest();
  if (Status s = bootstrap->allGather(&mine, sizeof(mine), digests.data());
      !s.isOk())
    return s;
  auto other = std::find_if(digests.begin(), digests.end(),
                            [&](auto &digest) { return digest != digests[0]; });
  if (other == digests.end())
    return Status::ok();
  auto names = allGatherText(*bootstrap, artifact.name());
  auto manifests = allGatherText(*bootstrap, artifact.manifestText());
  if (!names.isOk() || !manifests.isOk())
    return names.isOk() ? manifests.status() : names.status();
  size_t rank = other - digests.begin();
  std::string difference =
      describeDifference((*manifests)[0], (*manifests)[rank]);
  if (difference.empty())
    difference = format("nothing but their bytes (SHA-256 %.16s and %.16s)",
                        toHex(digests[0]).c_str(), toHex(*other).c_str());
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "ranks load different artifacts: %s on rank 0 and %s on "
                   "rank %zu differ in %s; give all ranks copies of one file",
                   (*names)[0].c_str(), (*names)[rank].c_str(), rank,
                   difference.c_str());
}

/// Loads are collective, so all ranks count alike.
void Context::number(Artifact &artifact) {
  bool isAgain = false;
  for (const std::unique_ptr<Artifact> &other : artifacts)
    isAgain |= other->name() == artifact.name() ||
               other->digest() == artifact.digest();
  artifact.setIdentity(++numLoads, isAgain);
}

Expected<Artifact *> Context::load(const std::string &path,
                                   const std::string &displayName) {
  if (Status s = refuseIfFailed(); !s.isOk())
    return s;
  return adopt(Artifact::open(path, displayName), displayName);
}

Expected<Artifact *> Context::loadBytes(std::string_view bytes,
                                        const std::string &displayName) {
  if (Status s = refuseIfFailed(); !s.isOk())
    return s;
  return adopt(Artifact::openBytes(bytes, displayName), displayName);
}

/// The part of a load that all ranks do together.
Expected<Artifact *> Context::adopt(Expected<std::unique_ptr<Artifact>> opened,
                                    const std::string &displayName) {
  Status local = opened.status();
  if (local.isOk())
    local = checkLoadable((*opened)->manifest()).withPrefix(displayName);
  if (local.isOk()) {
    auto program = backend->loadProgram((*opened)->gpuImage);
    local = program.status().withPrefix(displayName);
    if (program.isOk())
      (*opened)->program = program.take();
  }
  Status status =
      runGroupOp({GroupOp::Load, 0, "load of artifact " + displayName, local});
  if (status.isOk())
    status = prefixed(agreeOnBytes(**opened));
  if (status.isOk())
    number(**opened);
  if (status.isOk() && (*opened)->manifest().usesMessages())
    status =
        prefixed(openTransport().withPrefix("load of " + (*opened)->label()));
  if (status.isOk() && (*opened)->manifest().symmBytes > 0) {
    size_t bytes = (*opened)->manifest().symmBytes;
    auto workspace = symmHeap->allocate(bytes);
    if (workspace.isOk()) {
      (*opened)->workspace = *workspace;
      (*opened)->symmetricResults.setWorkspace(*workspace, bytes);
    }
    status = prefixed(workspace.status().withPrefix(
        format("load of %s: workspace of %zu bytes (symm_bytes)",
               (*opened)->label().c_str(), bytes)));
  }
  group->endGroupOp();
  if (!status.isOk())
    return status;
  artifacts.push_back(opened.take());
  return artifacts.back().get();
}

Status Context::unload(Artifact *artifact) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  auto it = std::find_if(artifacts.begin(), artifacts.end(),
                         [&](auto &held) { return held.get() == artifact; });
  if (it == artifacts.end())
    return prefixed(Status(MOERT_INVALID_ARGUMENT, "no such artifact"));
  // In a group that has failed nobody can be met, and the workspace stays
  // with the heap until the context ends. So it does where a graph of some rank
  // may have launches of the artifact.
  Status status;
  if (group->groupError().isOk()) {
    status = runGroupOp({GroupOp::Unload, artifact->identity(),
                         "unloading of " + artifact->label(), Status::ok()});
    bool isFree = true;
    if (status.isOk())
      status = prefixed(findGraphs(isFree));
    if (status.isOk() && isFree && artifact->workspace)
      status = prefixed(symmHeap->free(artifact->workspace));
    group->endGroupOp();
  }
  times.forgetStrings();
  if (backend->numGraphs() == 0) {
    retired.clear();
  } else {
    if (artifact->program)
      stopKernels(artifact->program->record());
    retired.push_back(std::move(*it));
  }
  artifacts.erase(it);
  return status;
}

/// Whether no rank has graphs, since heaps of all ranks do the same. Collective
/// where there can be graphs.
Status Context::findGraphs(bool &areNone) const {
  if (!backend->isAsynchronous())
    return Status::ok();
  int64_t mine = backend->numGraphs();
  std::vector<int64_t> all(size());
  if (Status s = bootstrap->allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;
  areNone = std::all_of(all.begin(), all.end(),
                        [](int64_t number) { return number == 0; });
  return Status::ok();
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
