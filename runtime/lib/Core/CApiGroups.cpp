//===- CApiGroups.cpp - how groups are made, and what they consist of -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiHandles.h"

#include "moe-runtime/LaunchedJob.h"
#include "moe-runtime/Mpi.h"

#include <cstdlib>
#include <mutex>

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// Processes of a launcher
//===----------------------------------------------------------------------===//

moert_code moert_context_create_from_environment(const moert_options *options,
                                                 moert_context **out) {
  return guarded([&]() -> Status {
    if (!out)
      return missing("out");
    *out = nullptr;
    ContextOptions chosen;
    if (Status s = readOptions(options, chosen); !s.isOk())
      return s;
    std::optional<LaunchedJob> job;
    std::string error;
    auto environment = [](const char *name) { return std::getenv(name); };
    if (!detectJob(environment, job, error))
      return Status(MOERT_INVALID_ARGUMENT, error);
    if (!job)
      return createContext(createSoloBootstrap(), options, out);
    auto boot = createJobBootstrap(*job, chosen.timeoutSeconds);
    if (!boot.isOk())
      return boot.status();
    return createContext(boot.take(), options, out);
  });
}

//===----------------------------------------------------------------------===//
// A communicator of MPI
//===----------------------------------------------------------------------===//

moert_code moert_context_create_mpi(const void *comm,
                                    const moert_options *options,
                                    moert_context **out) {
  return guarded([&]() -> Status {
    if (!comm || !out)
      return missing(!comm ? "comm" : "out");
    *out = nullptr;
    ContextOptions chosen;
    if (Status s = readOptions(options, chosen); !s.isOk())
      return s;
    auto boot = createMpiBootstrap(comm, chosen.timeoutSeconds);
    if (!boot.isOk())
      return boot.status();
    return createContext(boot.take(), options, out);
  });
}

//===----------------------------------------------------------------------===//
// Threads of this process
//===----------------------------------------------------------------------===//

struct moert_thread_group {
  std::mutex mutex;
  std::vector<std::unique_ptr<Bootstrap>> ranks; ///< null once taken
};

moert_code moert_thread_group_create(int32_t size, moert_thread_group **out) {
  return guarded([&]() -> Status {
    if (!out)
      return missing("out");
    *out = nullptr;
    if (size < 1 || size > MOERT_MAX_RANKS)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "a group of %d ranks; it has 1 to %d", size,
                       MOERT_MAX_RANKS);
    auto group = std::make_unique<moert_thread_group>();
    group->ranks = createThreadBootstraps(size);
    *out = group.release();
    return Status::ok();
  });
}

moert_code moert_context_create_in_threads(moert_thread_group *group,
                                           int32_t rank,
                                           const moert_options *options,
                                           moert_context **out) {
  return guarded([&]() -> Status {
    if (!group || !out)
      return missing(!group ? "group" : "out");
    *out = nullptr;
    std::unique_ptr<Bootstrap> mine;
    {
      std::lock_guard<std::mutex> lock(group->mutex);
      auto size = static_cast<int32_t>(group->ranks.size());
      if (rank < 0 || rank >= size)
        return makeError(MOERT_INVALID_ARGUMENT, "rank %d of a group of %d",
                         rank, size);
      mine = std::move(group->ranks[rank]);
    }
    if (!mine)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "rank %d of the group has a context already", rank);
    return createContext(std::move(mine), options, out);
  });
}

void moert_thread_group_destroy(moert_thread_group *group) { delete group; }

//===----------------------------------------------------------------------===//
// Hosts of a group
//===----------------------------------------------------------------------===//

int32_t moert_context_num_hosts(const moert_context *context) {
  return context ? context->context->hosts().numHosts() : 0;
}

int32_t moert_context_host_of(const moert_context *context, int32_t rank) {
  if (!context || rank < 0 || rank >= context->context->size())
    return -1;
  return context->context->hosts().hostOf(rank);
}

const char *moert_context_host_name(const moert_context *context,
                                    int32_t host) {
  if (!context || host < 0 || host >= context->context->hosts().numHosts())
    return "";
  return context->context->hosts().nameOf(host).c_str();
}
