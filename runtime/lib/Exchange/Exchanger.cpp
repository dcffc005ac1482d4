//===- Exchanger.cpp - the choice of a transport --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Exchanger.h"

#include <cstdlib>
#include <cstring>

using namespace moe::rt;

Exchanger::~Exchanger() = default;
ExchangeGuard::~ExchangeGuard() = default;

namespace {
/// A transport, as `MOE_TRANSPORT` calls it.
struct Transport {
  const char *name;
  /// For messages.
  const char *title;
  /// The backend whose memory it moves.
  const char *backend;
  Expected<std::unique_ptr<Exchanger>> (*create)(const ExchangerSetup &setup);
};
} // namespace

static constexpr Transport transports[] = {
    {"shared", "shared memory", "host", createSharedMemoryExchanger},
    {"mpi", "MPI", "host", createMpiExchanger},
    {"nccl", "NCCL", "cuda", createNcclExchanger}};

static const Transport *findTransport(const std::string &name) {
  for (const Transport &transport : transports)
    if (name == transport.name)
      return &transport;
  return nullptr;
}

static const char *suitableTransport(const ExchangerSetup &setup) {
  if (std::strcmp(setup.backend.name(), "cuda") == 0)
    return "nccl";
  return setup.hosts.isOneHost() ? "shared" : "mpi";
}

/// What keeps the transport called `name` from serving the group.
static Status checkChoice(const ExchangerSetup &setup,
                          const std::string &name) {
  const Transport *transport = findTransport(name);
  if (!transport)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "MOE_TRANSPORT is '%s'; expected shared, mpi or nccl",
                     name.c_str())
        .expecting("shared, mpi or nccl", name);
  if (std::strcmp(transport->backend, setup.backend.name()) != 0)
    return makeError(MOERT_UNAVAILABLE,
                     "MOE_TRANSPORT is '%s', which moves memory of the %s "
                     "backend, but the group is on the %s backend",
                     name.c_str(), transport->backend, setup.backend.name())
        .expecting(transport->backend, setup.backend.name());
  if (name == "shared" && !setup.hosts.isOneHost())
    return makeError(MOERT_UNAVAILABLE,
                     "MOE_TRANSPORT is 'shared', but the group has %d hosts, "
                     "%s, which share no memory; leave it out, or set it to "
                     "mpi",
                     setup.hosts.numHosts(), setup.hosts.describe().c_str())
        .expecting("one host", setup.hosts.describe());
  return Status::ok();
}

/// Ranks that made different transports would wait for each other in vain.
static Status agreeOnChoice(Bootstrap &bootstrap, const std::string &mine) {
  auto all = allGatherText(bootstrap, mine);
  if (!all.isOk())
    return all.status();
  for (size_t r = 0; r < all->size(); ++r)
    if ((*all)[r] != (*all)[0])
      return makeError(MOERT_COLLECTIVE_MISMATCH,
                       "ranks choose different transports: '%s' on rank 0, but "
                       "'%s' on rank %zu; give all ranks the same "
                       "MOE_TRANSPORT",
                       (*all)[0].c_str(), (*all)[r].c_str(), r)
          .aboutPeer(r == size_t(bootstrap.rank()) ? 0 : static_cast<int>(r))
          .expecting((*all)[0], (*all)[r]);
  return Status::ok();
}

Expected<std::unique_ptr<Exchanger>>
moe::rt::createExchanger(const ExchangerSetup &setup) {
  const char *pinned = std::getenv("MOE_TRANSPORT");
  std::string name = pinned && *pinned ? pinned : suitableTransport(setup);
  if (Status s = agreeOnChoice(setup.bootstrap, name); !s.isOk())
    return s;
  // All ranks agree so far, so they come to the same here.
  if (Status s = checkChoice(setup, name); !s.isOk())
    return s;
  const Transport &transport = *findTransport(name);
  Expected<std::unique_ptr<Exchanger>> made = transport.create(setup);
  Status status = made.status();
  // Why the group, which was made without it, needs the library now.
  if (!setup.hosts.isOneHost())
    status = status.withPrefix(
        format("between the group's %d hosts, %s, rows travel by %s",
               setup.hosts.numHosts(), setup.hosts.describe().c_str(),
               transport.title));
  if (Status s = agreeStatus(setup.bootstrap, status); !s.isOk())
    return s;
  return made;
}
