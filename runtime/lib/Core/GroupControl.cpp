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
#include "moe-runtime/Timings.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace moe::rt;

namespace moe::rt {
/// One GroupBlock and a RankBlock per rank.
struct ControlMemory {
  ControlMemory(void *base, size_t bytes) : base(base), bytes(bytes) {}
  ~ControlMemory() { munmap(base, bytes); }
  GroupBlock &group() { return *static_cast<GroupBlock *>(base); }
  RankBlock *ranks() {
    return reinterpret_cast<RankBlock *>(static_cast<char *>(base) +
                                         sizeof(GroupBlock));
  }
  void *base;
  size_t bytes;
};
} // namespace moe::rt

uint64_t moe::rt::hashText(const std::string &text, uint64_t seed) {
  uint64_t hash = seed ^ 0xcbf29ce484222325ull;
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

static Expected<std::shared_ptr<ControlMemory>> mapControl(int fd,
                                                           size_t bytes) {
  struct stat info;
  if (fd >= 0 && (fstat(fd, &info) != 0 || size_t(info.st_size) < bytes))
    return Status(MOERT_INTERNAL, "the control memory has the wrong size");
  int flags = fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
  void *base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (base == MAP_FAILED)
    return makeOsError(MOERT_OUT_OF_MEMORY, errno,
                       "cannot map %zu bytes of control memory", bytes);
  return std::make_shared<ControlMemory>(base, bytes);
}

static uint64_t pidNamespace() {
  struct stat info;
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

Expected<std::unique_ptr<GroupControl>>
GroupControl::create(Bootstrap &bootstrap) {
  int rank = bootstrap.rank(), size = bootstrap.size();
  size_t bytes = sizeof(GroupBlock) + sizeof(RankBlock) * size;
  std::shared_ptr<ControlMemory> memory;
  Status mine;
  if (LocalGroup *local = bootstrap.localGroup()) {
    memory = local->share<ControlMemory>("control", [&] {
      auto mapped = mapControl(-1, bytes);
      return mapped.isOk() ? mapped.take() : nullptr;
    });
    if (!memory)
      mine = Status(MOERT_OUT_OF_MEMORY, "cannot map the control memory");
  } else {
    // Rank 0 makes the file, all map it.
    UniqueFd fd;
    if (rank == 0) {
      auto created = createMemoryFile(bytes);
      if (created.isOk())
        fd = created.take();
      mine = created.status();
    }
    std::vector<UniqueFd> fds;
    if (Status s = bootstrap.exchangeFds(fd.get(), fds); !s.isOk())
      return s.withPrefix("setting up the group");
    if (mine.isOk() && !fds[0].isValid())
      mine = Status(MOERT_PEER_FAILED, "rank 0 could not make the control "
                                       "memory");
    if (mine.isOk()) {
      auto mapped = mapControl(fds[0].get(), bytes);
      if (mapped.isOk())
        memory = mapped.take();
      mine = mapped.status();
    }
  }
  if (mine.isOk()) {
    RankBlock &block = memory->ranks()[rank];
    block.pid = getpid();
    block.pidNamespace = pidNamespace();
    block.state = uint32_t(RankState::Idle);
  }
  if (Status s = agreeStatus(bootstrap, mine); !s.isOk())
    return s.withPrefix("setting up the group");
  std::unique_ptr<GroupControl> control(
      new GroupControl(std::move(memory), rank, size));
  control->watchPeers();
  // No rank may leave before all have opened its process.
  if (Status s = bootstrap.barrier(); !s.isOk())
    return s.withPrefix("setting up the group");
  return control;
}

GroupControl::GroupControl(std::shared_ptr<ControlMemory> memory, int rank,
                           int size)
    : memory(std::move(memory)), myRank(rank), groupSize(size) {}

GroupControl::~GroupControl() {
  block(myRank).state.store(uint32_t(RankState::Left),
                            std::memory_order_release);
}

RankBlock &GroupControl::block(int rank) const {
  return memory->ranks()[rank];
}

/// Opens the processes of peers. A process descriptor stays bound to the
/// process when its id is used again, and tells of zombies.
void GroupControl::watchPeers() {
  peerProcesses.resize(groupSize);
#ifdef SYS_pidfd_open
  uint64_t myNamespace = block(myRank).pidNamespace;
  for (int peer = 0; peer < groupSize; ++peer) {
    pid_t pid = static_cast<pid_t>(block(peer).pid.load());
    if (pid != getpid() && block(peer).pidNamespace == myNamespace)
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
  record.localCode.store(op.local.code(), std::memory_order_release);
  record.text.store(op.text);
  record.localError.store(op.local.message());
  record.ordinal.store(ordinal, std::memory_order_release);
  mine.phase.store("");
  mine.state.store(uint32_t(RankState::InGroupOp), std::memory_order_release);
  mine.groupOps.store(ordinal, std::memory_order_release);
}

void GroupControl::endGroupOp() {
  RankBlock &mine = block(myRank);
  mine.state.store(uint32_t(RankState::Idle), std::memory_order_release);
  mine.groupOpsDone.store(mine.groupOps.load(std::memory_order_relaxed),
                          std::memory_order_release);
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
  record.op.store(op);
  record.location.store(location);
  record.ordinal.store(ordinal, std::memory_order_release);
  mine.phase.store("begin");
  mine.state.store(uint32_t(RankState::InCollective),
                   std::memory_order_release);
  mine.collectives.store(ordinal, std::memory_order_release);
}

void GroupControl::setPhase(const char *phase) {
  block(myRank).phase.store(phase);
}

void GroupControl::endCollective() {
  block(myRank).state.store(uint32_t(RankState::InGroupOp),
                            std::memory_order_release);
}

static std::string describeCollective(const RankBlock &block) {
  uint64_t ordinal = block.collectives.load(std::memory_order_acquire);
  const CollectiveRecord &record =
      block.collectiveRing[ordinal % RankBlock::collectiveSlots];
  return record.op.load() + " at " + record.location.load() + ", phase '" +
         block.phase.load() + "'";
}

static std::string describeGroupOp(const RankBlock &block) {
  uint64_t ordinal = block.groupOps.load(std::memory_order_acquire);
  return block.groupOpRing[ordinal % RankBlock::groupOpSlots].text.load();
}

std::string GroupControl::here() const {
  const RankBlock &mine = block(myRank);
  if (mine.state == uint32_t(RankState::InCollective))
    return describeCollective(mine);
  return describeGroupOp(mine);
}

std::string GroupControl::lastSeen(int peer) const {
  const RankBlock &other = block(peer);
  switch (RankState(other.state.load(std::memory_order_acquire))) {
  case RankState::InCollective:
    return "in " + describeCollective(other);
  case RankState::InGroupOp:
    return "outside a collective, in the " + describeGroupOp(other);
  case RankState::Idle:
    return "not in a call";
  case RankState::Left:
    return "leaving the group";
  case RankState::Joining:
    break;
  }
  return "joining the group";
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

void GroupControl::raise(Status &status) {
  // The record is complete before the origin is named.
  RankBlock &mine = block(myRank);
  uint64_t none = 0;
  std::atomic<uint64_t> &origin = memory->group().origin;
  if (origin.load(std::memory_order_acquire) == 0) {
    mine.errorCode.store(status.code(), std::memory_order_release);
    mine.errorMessage.store(status.message());
    if (origin.compare_exchange_strong(none, uint64_t(myRank) + 1,
                                       std::memory_order_acq_rel))
      return;
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
  const RankBlock &first = block(origin);
  auto code = static_cast<moert_code>(first.errorCode.load());
  std::string message = first.errorMessage.load();
  if (origin == myRank)
    return Status(code, message);
  // A mismatch is an error of all ranks alike.
  if (code == MOERT_COLLECTIVE_MISMATCH)
    return Status(code, message);
  return makeError(MOERT_PEER_FAILED,
                   "rank %d: stopped because another rank failed: %s", myRank,
                   message.c_str());
}

Status GroupControl::reset(Bootstrap &bootstrap) {
  if (Status s = bootstrap.barrier(); !s.isOk())
    return s;
  RankBlock &mine = block(myRank);
  mine.groupOps = mine.groupOpsDone = mine.collectives = 0;
  for (GroupOpRecord &record : mine.groupOpRing)
    record.ordinal = 0;
  for (CollectiveRecord &record : mine.collectiveRing)
    record.ordinal = 0;
  mine.errorCode = 0;
  mine.state = uint32_t(RankState::Idle);
  if (myRank == 0)
    memory->group().origin = 0;
  return bootstrap.barrier();
}

//===----------------------------------------------------------------------===//
// What a waiting rank looks at
//===----------------------------------------------------------------------===//

Status GroupControl::compareGroupOps(int peer) const {
  const RankBlock &mine = block(myRank), &other = block(peer);
  uint64_t ordinal = mine.groupOps.load(std::memory_order_relaxed);
  if (other.groupOps.load(std::memory_order_acquire) < ordinal)
    return Status::ok();
  size_t slot = ordinal % RankBlock::groupOpSlots;
  const GroupOpRecord &ours = mine.groupOpRing[slot];
  const GroupOpRecord &theirs = other.groupOpRing[slot];
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  bool isSame = theirs.kind.load(std::memory_order_acquire) == ours.kind &&
                theirs.hash.load(std::memory_order_acquire) == ours.hash;
  std::string text = theirs.text.load();
  // An operation that failed locally may not know what it was about.
  bool isFailed = theirs.localCode.load(std::memory_order_acquire) ||
                  ours.localCode.load(std::memory_order_relaxed);
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal || isSame ||
      (isFailed && theirs.kind == ours.kind))
    return Status::ok();
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks do different things: rank %d is in the %s, "
                   "but rank %d is in the %s",
                   myRank, myRank, ours.text.load().c_str(), peer,
                   text.c_str());
}

Status GroupControl::compareCollectives(int peer) const {
  const RankBlock &mine = block(myRank), &other = block(peer);
  if (mine.state.load(std::memory_order_relaxed) !=
      uint32_t(RankState::InCollective))
    return Status::ok();
  uint64_t ordinal = mine.collectives.load(std::memory_order_relaxed);
  size_t slot = ordinal % RankBlock::collectiveSlots;
  const CollectiveRecord &ours = mine.collectiveRing[slot];
  // Read before the count of collectives, which can then only be newer.
  bool hasFinished = other.groupOpsDone.load(std::memory_order_acquire) >=
                     mine.groupOps.load(std::memory_order_relaxed);
  if (other.collectives.load(std::memory_order_acquire) < ordinal) {
    if (!hasFinished)
      return Status::ok();
    return makeError(MOERT_COLLECTIVE_MISMATCH,
                     "rank %d: ranks call different collectives: rank %d is in "
                     "%s, but rank %d has ended the %s without it",
                     myRank, myRank, here().c_str(), peer,
                     mine.groupOpRing[mine.groupOps.load() %
                                      RankBlock::groupOpSlots]
                         .text.load()
                         .c_str());
  }
  const CollectiveRecord &theirs = other.collectiveRing[slot];
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  bool isSame =
      theirs.site.load(std::memory_order_acquire) == ours.site &&
      theirs.artifact.load(std::memory_order_acquire) == ours.artifact;
  if (isSame)
    return Status::ok();
  std::string op = theirs.op.load(), location = theirs.location.load();
  if (theirs.ordinal.load(std::memory_order_acquire) != ordinal)
    return Status::ok();
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks call different collectives: rank %d is in "
                   "%s at %s, but rank %d is in %s at %s",
                   myRank, myRank, ours.op.load().c_str(),
                   ours.location.load().c_str(), peer, op.c_str(),
                   location.c_str());
}

Status GroupControl::checkGroup() const {
  if (Status error = groupError(); !error.isOk())
    return error;
  for (int peer = 0; peer < groupSize; ++peer) {
    if (peer == myRank)
      continue;
    if (Status s = compareGroupOps(peer); !s.isOk())
      return s;
    if (Status s = compareCollectives(peer); !s.isOk())
      return s;
  }
  return Status::ok();
}

Status GroupControl::checkAlive(int peer) const {
  RankState state = RankState(block(peer).state.load(std::memory_order_acquire));
  if (state == RankState::Left)
    return makeError(MOERT_PEER_FAILED, "rank %d has left the group", peer);
  if (!peerProcesses[peer].isValid())
    return Status::ok();
  pollfd process{peerProcesses[peer].get(), POLLIN, 0};
  if (poll(&process, 1, 0) <= 0)
    return Status::ok();
  return makeError(MOERT_PEER_FAILED, "rank %d (process %d) died %s", peer,
                   int(block(peer).pid.load()), lastSeen(peer).c_str());
}

bool GroupControl::waitForGroupOp(int peer, uint64_t ordinal,
                                  int64_t deadlineNs, Status &error) const {
  auto hasArrived = [&] {
    return block(peer).groupOps.load(std::memory_order_acquire) >= ordinal;
  };
  for (int spins = 0; !hasArrived(); ++spins) {
    if (spins < 100) {
      std::this_thread::yield();
      continue;
    }
    error = checkGroup();
    if (error.isOk())
      error = checkAlive(peer);
    if (!error.isOk())
      return hasArrived() && originRank() < 0;
    if (nowNs() > deadlineNs) {
      error = Status(MOERT_TIMEOUT, "");
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

Status GroupControl::agree(const GroupOp &op, double timeoutSeconds,
                           bool &raised) {
  raised = true;
  uint64_t ordinal = block(myRank).groupOps.load(std::memory_order_relaxed);
  int64_t deadline = nowNs() + int64_t(timeoutSeconds * 1e9);
  for (int peer = 0; peer < groupSize; ++peer) {
    Status error;
    if (waitForGroupOp(peer, ordinal, deadline, error))
      continue;
    if (originRank() >= 0 || error.code() == MOERT_COLLECTIVE_MISMATCH)
      return error;
    if (error.code() == MOERT_TIMEOUT) {
      std::vector<int> missing;
      std::string seen;
      for (int r = 0; r < groupSize; ++r)
        if (block(r).groupOps.load(std::memory_order_acquire) < ordinal) {
          missing.push_back(r);
          seen += format("; rank %d was last seen %s", r, lastSeen(r).c_str());
        }
      return makeError(MOERT_TIMEOUT,
                       "rank %d: %s: timed out after %g s waiting for %s to "
                       "arrive%s",
                       myRank, op.text.c_str(), timeoutSeconds,
                       listRanks(missing).c_str(), seen.c_str());
    }
    return makeError(error.code(), "rank %d: %s: %s", myRank, op.text.c_str(),
                     error.message().c_str());
  }
  if (Status s = checkGroup(); !s.isOk())
    return s;
  raised = false;
  if (!op.local.isOk())
    return op.local;
  for (int peer = 0; peer < groupSize; ++peer) {
    const GroupOpRecord &record =
        block(peer).groupOpRing[ordinal % RankBlock::groupOpSlots];
    if (record.ordinal.load(std::memory_order_acquire) == ordinal &&
        record.localCode.load(std::memory_order_acquire))
      return makeError(MOERT_PEER_FAILED, "rank %d: %s: another rank failed: %s",
                       myRank, op.text.c_str(),
                       record.localError.load().c_str());
  }
  return Status::ok();
}
