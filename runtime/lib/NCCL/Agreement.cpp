//===- Agreement.cpp - what ranks need before they use NCCL ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Agreement.h"

#include "CUDA/CudaBackend.h"
#include "moe-runtime/GroupControl.h"

#include <cstdlib>
#include <cstring>

using namespace moe::rt;
using namespace moe::rt::nccl;

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

Expected<const Library *>
moe::rt::nccl::openTogether(const ExchangerSetup &setup) {
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
