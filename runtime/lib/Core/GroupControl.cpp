//===- GroupControl.cpp - errors and progress that ranks share ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/GroupControl.h"

#include "ControlBlock.h"
#include "moe-runtime/MemoryFile.h"

#include <cerrno>
#include <fcntl.h>
#include <initializer_list>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace moe::rt;

uint64_t moe::rt::hashText(const std::string &text, uint64_t seed) {
  uint64_t hash = seed ^ 0xcbf29ce484222325ull;
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

static Expected<std::shared_ptr<ControlMemory>> mapControl(int fd, int size) {
  size_t bytes = ControlMemory::bytesFor(size);
  struct stat info;
  if (fd >= 0 && (fstat(fd, &info) != 0 || size_t(info.st_size) < bytes))
    return Status(MOERT_INTERNAL, "the control memory has the wrong size");
  int flags = fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
  void *base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (base == MAP_FAILED)
    return makeOsError(MOERT_OUT_OF_MEMORY, errno,
                       "cannot map %zu bytes of control memory", bytes);
  return std::make_shared<ControlMemory>(base, size);
}

static uint64_t pidNamespace() {
  struct stat info;
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

Expected<std::unique_ptr<GroupControl>>
GroupControl::create(Bootstrap &bootstrap) {
  return create(bootstrap, bootstrap, HostMap::oneHost(bootstrap.size()));
}

/// The memory of the ranks of `onHost`, with blocks for `size` ranks.
static Expected<std::shared_ptr<ControlMemory>> shareControl(Bootstrap &onHost,
                                                             int size) {
  if (LocalGroup *local = onHost.localGroup()) {
    auto memory = local->share<ControlMemory>("control", [&] {
      auto mapped = mapControl(-1, size);
      return mapped.isOk() ? mapped.take() : nullptr;
    });
    if (!memory)
      return Status(MOERT_OUT_OF_MEMORY, "cannot map the control memory");
    return memory;
  }
  // The leader makes the file, all map it.
  UniqueFd fd;
  Status status;
  if (onHost.rank() == 0) {
    auto created = createMemoryFile(ControlMemory::bytesFor(size));
    if (created.isOk())
      fd = created.take();
    status = created.status();
  }
  std::vector<UniqueFd> fds;
  Status exchanged = onHost.exchangeFds(fd.get(), fds);
  if (!status.isOk() || !exchanged.isOk())
    return status.isOk() ? exchanged : status;
  if (!fds[0].isValid())
    return makeError(MOERT_PEER_FAILED,
                     "rank %d could not make the control memory",
                     onHost.rankInWhole(0));
  return mapControl(fds[0].get(), size);
}

Expected<std::unique_ptr<GroupControl>>
GroupControl::create(Bootstrap &bootstrap, Bootstrap &onHost,
                     const HostMap &hosts) {
  auto failed = [](const Status &status) {
    return status.withPrefix("setting up the group");
  };
  int rank = bootstrap.rank();
  auto memory = shareControl(onHost, bootstrap.size());
  if (memory.isOk()) {
    RankBlock &block = (*memory)->ranks()[rank];
    block.pid = getpid();
    block.pidNamespace = pidNamespace();
    block.state = uint32_t(RankState::Idle);
  }
  if (Status s = agreeStatus(bootstrap, memory.status()); !s.isOk())
    return failed(s);
  std::unique_ptr<GroupControl> control(
      new GroupControl(memory.take(), hosts, rank));
  control->watchPeers();
  if (!hosts.isOneHost())
    if (Status s = control->linkHosts(bootstrap, onHost); !s.isOk())
      return failed(s);
  // No rank may leave before all have opened its process.
  if (Status s = bootstrap.barrier(); !s.isOk())
    return failed(s);
  return control;
}

GroupControl::GroupControl(std::shared_ptr<ControlMemory> memory,
                           const HostMap &hosts, int rank)
    : memory(std::move(memory)), hosts(hosts), myRank(rank),
      groupSize(this->memory->size) {}

GroupControl::~GroupControl() { leave(); }

void GroupControl::leave() {
  block(myRank).state.store(uint32_t(RankState::Left),
                            std::memory_order_release);
  ring();
  if (link)
    link->leave();
}

/// Makes the link to other hosts, which the leader of each has.
Status GroupControl::linkHosts(Bootstrap &bootstrap, Bootstrap &onHost) {
  Status status;
  if (onHost.rank() == 0) {
    bell = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!bell.isValid())
      status = makeOsError(MOERT_IO, errno, "cannot make an event descriptor");
  }
  std::vector<UniqueFd> bells;
  Status exchanged = onHost.exchangeFds(bell.get(), bells);
  if (status.isOk())
    status = exchanged;
  if (status.isOk() && !bells[0].isValid())
    status = makeError(MOERT_PEER_FAILED, "rank %d has no event descriptor",
                       onHost.rankInWhole(0));
  if (Status s = agreeStatus(bootstrap, status); !s.isOk())
    return s;
  if (onHost.rank() != 0)
    bell = std::move(bells[0]);
  std::vector<int> processes;
  for (const UniqueFd &process : peerProcesses)
    processes.push_back(process.get());
  auto made = HostLink::create({bootstrap, hosts, memory, bell.get(),
                                std::move(processes),
                                [this](int peer) { return lastSeen(peer); }});
  if (made.isOk())
    link = made.take();
  return made.status();
}

/// Tells other hosts at once what this rank has published.
void GroupControl::ring() {
  if (!bell.isValid())
    return;
  block(myRank).urgent.fetch_add(1, std::memory_order_release);
  uint64_t one = 1;
  ssize_t written = write(bell.get(), &one, sizeof(one));
  (void)written;
}

RankBlock &GroupControl::block(int rank) const { return memory->ranks()[rank]; }

/// Opens the processes of peers. A process descriptor stays bound to the
/// process when its id is used again, and tells of zombies.
void GroupControl::watchPeers() {
  peerProcesses.resize(groupSize);
#ifdef SYS_pidfd_open
  uint64_t myNamespace = block(myRank).pidNamespace;
  for (int peer = 0; peer < groupSize; ++peer) {
    pid_t pid = static_cast<pid_t>(block(peer).pid.load());
    if (!isFar(peer) && pid != getpid() &&
        block(peer).pidNamespace == myNamespace)
      peerProcesses[peer] =
          UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  }
#endif
}

//===----------------------------------------------------------------------===//
// What this rank publishes
//===----------------------------------------------------------------------===//

void GroupControl::beginGroupOp(const GroupOp &op) {
  RankBlock &mine = block(myRank);
  uint64_t ordinal = mine.groupOps.load(std::memory_order_relaxed) + 1;
  GroupOpRecord &record = mine.groupOpRing[ordinal % RankBlock::groupOpSlots];
  record.ordinal.store(0, std::memory_order_release);
  record.kind.store(op.kind, std::memory_order_release);
  record.hash.store(op.hash, std::memory_order_release);
  uint64_t collectives = mine.collectives.load(std::memory_order_relaxed);
  record.collectivesBefore.store(collectives, std::memory_order_release);
  record.collectivesAfter.store(collectives, std::memory_order_release);
  record.text.store(op.text);
  record.localError.store(op.local);
  record.ordinal.store(ordinal, std::memory_order_release);
  mine.phase.store("");
  mine.state.store(uint32_t(RankState::InGroupOp), std::memory_order_release);
  mine.groupOps.store(ordinal, std::memory_order_release);
}

void GroupControl::endCollectives(bool isQueued) {
  RankBlock &mine = block(myRank);
  uint64_t ordinal = mine.groupOps.load(std::memory_order_relaxed);
  GroupOpRecord &record = mine.groupOpRing[ordinal % RankBlock::groupOpSlots];
  record.collectivesAfter.store(
      mine.collectives.load(std::memory_order_relaxed),
      std::memory_order_release);
  if (isQueued)
    mine.state.store(uint32_t(RankState::OnDevice), std::memory_order_release);
  mine.groupOpsQueued.store(ordinal, std::memory_order_release);
}

void GroupControl::endGroupOp() {
  RankBlock &mine = block(myRank);
  if (mine.groupOpsQueued.load(std::memory_order_relaxed) !=
      mine.groupOps.load(std::memory_order_relaxed))
    endCollectives(/*isQueued=*/false);
  mine.state.store(uint32_t(RankState::Idle), std::memory_order_release);
  mine.groupOpsDone.store(mine.groupOps.load(std::memory_order_relaxed),
                          std::memory_order_release);
}

/// One word that differs when any of them does.
static uint64_t mix(std::initializer_list<uint64_t> words) {
  uint64_t hash = 0;
  for (uint64_t word : words) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return hash;
}

void GroupControl::beginCollective(const char *op, const char *location,
                                   int64_t site, uint64_t artifact) {
  RankBlock &mine = block(myRank);
  uint64_t ordinal = mine.collectives.load(std::memory_order_relaxed) + 1;
  CollectiveRecord &record =
      mine.collectiveRing[ordinal % RankBlock::collectiveSlots];
  record.ordinal.store(0, std::memory_order_release);
  record.site.store(site, std::memory_order_release);
  record.artifact.store(artifact, std::memory_order_release);
  uint64_t groupOp = mine.groupOps.load(std::memory_order_relaxed);
  record.groupOp.store(groupOp, std::memory_order_release);
  record.op.store(op);
  record.location.store(location);
  record.ordinal.store(ordinal, std::memory_order_release);
  mine.phase.store("begin");
  mine.state.store(uint32_t(RankState::InCollective),
                   std::memory_order_release);
  mine.collectives.store(ordinal, std::memory_order_release);
  myCollective = mix({ordinal, uint64_t(site), artifact, groupOp});
  memory->collectives()[myRank].store(myCollective, std::memory_order_release);
}

bool GroupControl::isInSameCollective(int peer) const {
  return memory->collectives()[peer].load(std::memory_order_acquire) ==
         myCollective;
}

void GroupControl::setPhase(const char *phase) {
  block(myRank).phase.store(phase);
}

void GroupControl::endCollective() {
  block(myRank).state.store(uint32_t(RankState::InGroupOp),
                            std::memory_order_release);
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

void GroupControl::raise(Status &status) {
  // The record is complete before the origin is named.
  RankBlock &mine = block(myRank);
  if (memory->group().origin.load(std::memory_order_acquire) == 0) {
    mine.error.store(status);
    if (nameOrigin(*memory, myRank)) {
      ring();
      return;
    }
  }
  if (status.code() == MOERT_PEER_FAILED || status.code() == MOERT_TIMEOUT ||
      status.code() == MOERT_COLLECTIVE_MISMATCH)
    status = groupError();
}

int GroupControl::originRank() const {
  return static_cast<int>(
             memory->group().origin.load(std::memory_order_acquire)) -
         1;
}

Status GroupControl::groupError() const {
  int origin = originRank();
  if (origin < 0 || origin >= groupSize)
    return Status::ok();
  Status first = block(origin).error.load();
  // A mismatch is an error of all ranks alike.
  if (origin == myRank || first.code() == MOERT_COLLECTIVE_MISMATCH)
    return first.of(myRank, origin);
  // Nobody has raised this one.
  if (block(origin).fate.load(std::memory_order_acquire) ==
          uint32_t(RankFate::Lost) &&
      first.code() == MOERT_PEER_FAILED)
    return first.withPrefix(format("rank %d", myRank)).of(myRank, origin);
  return makeError(MOERT_PEER_FAILED,
                   "rank %d: stopped because another rank failed: %s", myRank,
                   first.message().c_str())
      .causedBy(first)
      .of(myRank, origin);
}

void moe::rt::clearForReset(ControlMemory &memory, int rank,
                            uint64_t generation) {
  RankBlock &block = memory.ranks()[rank];
  block.groupOps = block.groupOpsQueued = block.groupOpsDone = 0;
  block.groupOpsCompared = 0;
  block.collectives = 0;
  for (GroupOpRecord &record : block.groupOpRing)
    record.ordinal = 0;
  for (CollectiveRecord &record : block.collectiveRing)
    record.ordinal = 0;
  memory.collectives()[rank] = 0;
  block.error.code = MOERT_OK;
  block.state = uint32_t(RankState::Idle);
  // Last: a snapshot of this generation has nothing of the one before.
  block.generation = generation;
}

Status GroupControl::reset(Bootstrap &bootstrap) {
  if (Status s = bootstrap.barrier(); !s.isOk())
    return s;
  uint64_t generation =
      block(myRank).generation.load(std::memory_order_relaxed) + 1;
  clearForReset(*memory, myRank, generation);
  if (link)
    link->beginGeneration();
  else if (myRank == 0)
    memory->group().origin = 0;
  return bootstrap.barrier();
}
