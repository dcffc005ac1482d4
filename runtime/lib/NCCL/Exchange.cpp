//===- Exchange.cpp - messages between GPUs by NCCL -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Exchanges as grouped sends and receives on the stream of the call. They are
/// queued here and waited for, with a bound, by who waits for the stream. What
/// is known to the host is all that they depend on, so they can be captured
/// into a CUDA graph, by all ranks alike.
///
//===----------------------------------------------------------------------===//

#include "CUDA/CudaBackend.h"
#include "Communicator.h"
#include "moe-runtime/GroupControl.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace moe::rt;
using namespace moe::rt::nccl;

/// Connecting GPUs takes its time, more with more hosts.
static constexpr double setupSeconds = 60;

namespace {
/// The calls between ncclGroupStart and ncclGroupEnd. Their first error is
/// kept, since the group has to be ended nevertheless.
class CallGroup {
public:
  explicit CallGroup(const Library &library)
      : library(library), first(library.groupStart()) {}
  void add(Result result) {
    if (first == success)
      first = result;
  }
  Result end() {
    Result ended = library.groupEnd();
    return first == success || first == inProgress ? ended : first;
  }

private:
  const Library &library;
  Result first;
};

class NcclExchanger : public Exchanger {
public:
  NcclExchanger(const Library &library, const CommunicatorGroup &group,
                const cuda::CudaBackend &backend,
                std::unique_ptr<Communicator> communicator)
      : library(library), group(group), backend(backend),
        communicator(std::move(communicator)), rank(group.bootstrap.rank()),
        size(group.bootstrap.size()) {}

  const char *name() const override { return "NCCL"; }
  Status allGather(const void *send, void *recv, size_t bytes,
                   const StreamRef &stream, ExchangeGuard &guard) override;
  Status allToAll(const void *send, void *recv, size_t bytes,
                  const StreamRef &stream, ExchangeGuard &guard) override;
  Status exchange(const std::vector<RowExchange> &rows, const StreamRef &stream,
                  ExchangeGuard &guard) override;
  Status poll() override { return communicator->poll(); }
  void stop() override { communicator->abandon(); }
  Status reset(Bootstrap &bootstrap) override;

private:
  /// Queues one group of calls, which `add` makes for each distance between
  /// ranks: it sends to rank `to` and receives from rank `from`.
  template <typename Add>
  Status runGroup(const char *what, ExchangeGuard &guard, Add add);

  const Library &library;
  CommunicatorGroup group;
  const cuda::CudaBackend &backend;
  std::unique_ptr<Communicator> communicator;
  const int rank, size;
};
} // namespace

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

Status NcclExchanger::allGather(const void *send, void *recv, size_t bytes,
                                const StreamRef &stream, ExchangeGuard &guard) {
  if (bytes == 0)
    return Status::ok();
  if (!communicator->get())
    return communicator->poll();
  cuda::Current here(*group.gpu);
  return communicator->finish(library.allGather(send, recv, bytes, typeInt8,
                                                communicator->get(),
                                                backend.handleOf(stream)),
                              "an all-gather", guard);
}

/// Rows that a rank keeps go through NCCL like all others: its kernel copies
/// them while it waits for other ranks, where a copy of the driver would come
/// before or after it, and be one more node of a graph.
template <typename Add>
Status NcclExchanger::runGroup(const char *what, ExchangeGuard &guard,
                               Add add) {
  if (!communicator->get())
    return communicator->poll();
  cuda::Current here(*group.gpu);
  CallGroup calls(library);
  // Each rank begins with itself, so that not all send to one at first.
  for (int distance = 0; distance < size; ++distance)
    add(calls, (rank + distance) % size, (rank + size - distance) % size);
  return communicator->finish(calls.end(), what, guard);
}

Status NcclExchanger::allToAll(const void *send, void *recv, size_t bytes,
                               const StreamRef &stream, ExchangeGuard &guard) {
  if (bytes == 0)
    return Status::ok();
  cuda::StreamHandle queue = backend.handleOf(stream);
  auto *from = static_cast<const char *>(send);
  auto *to = static_cast<char *>(recv);
  return runGroup(
      "an all-to-all", guard, [&](CallGroup &calls, int target, int source) {
        calls.add(library.send(from + bytes * size_t(target), bytes, typeInt8,
                               target, communicator->get(), queue));
        calls.add(library.recv(to + bytes * size_t(source), bytes, typeInt8,
                               source, communicator->get(), queue));
      });
}

Status NcclExchanger::exchange(const std::vector<RowExchange> &rows,
                               const StreamRef &stream, ExchangeGuard &guard) {
  cuda::StreamHandle queue = backend.handleOf(stream);
  return runGroup(
      "an exchange of rows", guard,
      [&](CallGroup &calls, int target, int source) {
        // Both sides know the counts, and neither takes part in no rows.
        for (const RowExchange &one : rows) {
          auto at = [&](int32_t row) { return one.rowBytes * size_t(row); };
          if (size_t bytes = at(one.sendCounts[target]))
            calls.add(library.send(one.send + at(one.sendStarts[target]), bytes,
                                   typeInt8, target, communicator->get(),
                                   queue));
          if (size_t bytes = at(one.recvCounts[source]))
            calls.add(library.recv(one.recv + at(one.recvStarts[source]), bytes,
                                   typeInt8, source, communicator->get(),
                                   queue));
        }
      });
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

Status NcclExchanger::reset(Bootstrap &bootstrap) {
  if (communicator->isBorrowed()) {
    Status status = communicator->poll();
    if (!status.isOk())
      status = status.withMessage(
          status.message() + "; the communicator is lent, so its owner has to "
                             "make a new one, and a new group with it");
    return agreeStatus(bootstrap, status);
  }
  communicator->abandon();
  auto made = Communicator::create(library, group);
  if (!made.isOk())
    return made.status();
  communicator = made.take();
  return Status::ok();
}

namespace {
/// What ranks tell each other before they meet in NCCL.
struct RankFacts {
  int32_t lends;
  int32_t ordinal;
  uint64_t host; ///< as NCCL tells hosts apart
  cuda::Uuid gpu;
};
} // namespace

static RankFacts factsOf(const ExchangerSetup &setup) {
  RankFacts facts{};
  facts.lends = setup.lent.hasNccl;
  const char *hostId = std::getenv("NCCL_HOSTID");
  int host = setup.hosts.hostOf(setup.bootstrap.rank());
  facts.host = hashText(hostId ? hostId : format("host %d", host));
  if (std::strcmp(setup.backend.name(), "cuda") != 0)
    return facts;
  auto &backend = static_cast<cuda::CudaBackend &>(setup.backend);
  facts.ordinal = backend.gpuOfRank()->ordinal();
  facts.gpu = backend.gpuOfRank()->uuid();
  return facts;
}

/// Ranks that lend and ranks that do not would wait for each other.
static Status checkLoans(const std::vector<RankFacts> &all, int rank) {
  for (size_t other = 0; other < all.size(); ++other)
    if (all[other].lends != all[rank].lends)
      return makeError(MOERT_COLLECTIVE_MISMATCH,
                       "rank %d lends %s communicator of NCCL, but rank %zu "
                       "lends %s: all ranks lend one, or none does",
                       rank, all[rank].lends ? "a" : "no", other,
                       all[other].lends ? "one" : "none")
          .of(rank)
          .aboutPeer(static_cast<int>(other));
  return Status::ok();
}

/// The ranks of a host have a GPU each, unless NCCL has been told otherwise.
static Status checkGpus(const std::vector<RankFacts> &all, int rank,
                        const HostMap &hosts) {
  const char *allowed = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  if (allowed && std::strcmp(allowed, "1") == 0)
    return Status::ok();
  for (size_t later = 0; later < all.size(); ++later)
    for (size_t earlier = 0; earlier < later; ++earlier) {
      const RankFacts &a = all[earlier], &b = all[later];
      if (a.host != b.host || std::memcmp(&a.gpu, &b.gpu, sizeof(a.gpu)) != 0)
        continue;
      int host = hosts.hostOf(static_cast<int>(earlier));
      return makeError(MOERT_UNAVAILABLE,
                       "ranks %zu and %zu share GPU %d of host %s, and NCCL "
                       "needs one for each rank: start as many ranks on a host "
                       "as it has GPUs",
                       earlier, later, a.ordinal, hosts.nameOf(host).c_str())
          .of(rank);
    }
  return Status::ok();
}

/// Collective.
static Expected<const Library *> openTogether(const ExchangerSetup &setup) {
  int rank = setup.bootstrap.rank();
  RankFacts mine = factsOf(setup);
  std::vector<RankFacts> all(setup.bootstrap.size());
  if (Status s = setup.bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;
  const Library *library = nullptr;
  Status local;
  if (std::strcmp(setup.backend.name(), "cuda") != 0)
    local = makeError(MOERT_UNAVAILABLE,
                      "NCCL exchanges messages between GPUs, and the group is "
                      "on the %s backend",
                      setup.backend.name())
                .expecting("cuda", setup.backend.name());
  if (local.isOk())
    local = checkLoans(all, rank);
  if (local.isOk() && !mine.lends)
    local = checkGpus(all, rank, setup.hosts);
  if (local.isOk()) {
    auto found = Library::get();
    local = found.status();
    if (found.isOk())
      library = *found;
  }
  if (Status s = agreeStatus(setup.bootstrap, local); !s.isOk())
    return s;
  return library;
}

Expected<std::unique_ptr<Exchanger>>
moe::rt::createNcclExchanger(const ExchangerSetup &setup) {
  auto library = openTogether(setup);
  if (!library.isOk())
    return library.status();
  auto &backend = static_cast<cuda::CudaBackend &>(setup.backend);
  double timeout = setup.bootstrap.timeoutSeconds();
  CommunicatorGroup group{setup.bootstrap, setup.hosts, backend.gpuOfRank(),
                          std::max(timeout, setupSeconds), timeout};
  auto made = setup.lent.hasNccl
                  ? Communicator::borrow(**library, group, setup.lent.nccl)
                  : Communicator::create(**library, group);
  if (!made.isOk())
    return made.status();
  return std::unique_ptr<Exchanger>(
      std::make_unique<NcclExchanger>(**library, group, backend, made.take()));
}
