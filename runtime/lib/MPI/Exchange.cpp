//===- Exchange.cpp - rows by two-sided messages of MPI -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each rank sends to the rank after it first, then to the second one after it,
/// and so on, and receives in the order that belongs to that: so all pairs are
/// busy at the same time, and no rank is everybody's first.
///
//===----------------------------------------------------------------------===//

#include "MpiBootstrap.h"
#include "Process.h"
#include "moe-runtime/Exchanger.h"
#include "moe-runtime/LaunchedJob.h"

#include <cstdlib>
#include <cstring>

using namespace moe::rt;
using namespace moe::rt::mpi;

namespace {
/// The guard of a call, of which MPI's processes are the ranks.
class GuardWatch : public Messenger::Watch {
public:
  GuardWatch(ExchangeGuard &guard, const std::vector<int> &processes, int rank)
      : guard(guard), rank(rank), ranks(processes.size()) {
    for (size_t r = 0; r < processes.size(); ++r)
      ranks[processes[r]] = static_cast<int>(r);
  }
  Status check(int process) override { return guard.check(ranks[process]); }
  Status misfit(int process, size_t expected,
                const std::string &sent) override {
    int peer = ranks[process];
    return makeError(MOERT_INVALID_COUNT,
                     "rank %d sends %s bytes, but rank %d expects %zu", peer,
                     sent.c_str(), rank, expected)
        .aboutPeer(peer)
        .expecting(format("%zu bytes", expected), sent + " bytes");
  }
  int rankOf(int process) const override { return ranks[process]; }
  void progressed() override { guard.progressed(); }

private:
  ExchangeGuard &guard;
  int rank;
  std::vector<int> ranks;
};

class MpiExchanger : public Exchanger {
public:
  MpiExchanger(std::unique_ptr<Communicator> communicator,
               std::vector<int> processes, int ranksHere)
      : communicator(std::move(communicator)), processes(std::move(processes)),
        messenger(*this->communicator, ranksHere) {}

  const char *name() const override { return "MPI"; }
  Status allGather(const std::vector<MessageBuffers> &buffers,
                   const StreamRef &stream, ExchangeGuard &guard) override;
  Status allToAll(const std::vector<MessageBuffers> &buffers,
                  const StreamRef &stream, ExchangeGuard &guard) override;
  Status exchange(const std::vector<RowExchange> &rows, const StreamRef &stream,
                  ExchangeGuard &guard) override;
  Status reset(Bootstrap &bootstrap) override;

private:
  int rank() const { return myRank; }
  int size() const { return static_cast<int>(processes.size()); }
  Status transfer(const std::vector<Outbound> &sends,
                  const std::vector<Inbound> &receives, ExchangeGuard &guard);
  Status spread(const std::vector<MessageBuffers> &buffers, bool isGather,
                ExchangeGuard &guard);

  friend Expected<std::unique_ptr<Exchanger>>
  moe::rt::createMpiExchanger(const ExchangerSetup &setup);

  std::unique_ptr<Communicator> communicator;
  std::vector<int> processes; ///< of each rank, its rank in the communicator
  Messenger messenger;
  int myRank = 0;
  uint32_t epoch = 0; ///< how often it has been reset
  bool isBroken = false;
};
} // namespace

Status MpiExchanger::transfer(const std::vector<Outbound> &sends,
                              const std::vector<Inbound> &receives,
                              ExchangeGuard &guard) {
  if (isBroken)
    return Status(MOERT_INTERNAL,
                  "an exchange over MPI has failed before, and the group was "
                  "not reset since");
  std::vector<Outbound> out = sends;
  std::vector<Inbound> in = receives;
  for (Outbound &piece : out)
    piece.peer = processes[piece.peer];
  for (Inbound &piece : in)
    piece.peer = processes[piece.peer];
  GuardWatch watch(guard, processes, rank());
  // Also by an exception.
  isBroken = true;
  Status status;
  try {
    status = messenger.transfer(out, in, /*tag=*/int(epoch % 16000) * 2, watch);
  } catch (...) {
    abandon();
    throw;
  }
  isBroken = !status.isOk();
  if (isBroken)
    abandon();
  return status;
}

/// Of an all-gather every rank gets the same bytes.
Status MpiExchanger::spread(const std::vector<MessageBuffers> &buffers,
                            bool isGather, ExchangeGuard &guard) {
  auto from = [&](const MessageBuffers &one, int peer) {
    return static_cast<const char *>(one.send) +
           (isGather ? 0 : one.bytes * size_t(peer));
  };
  auto to = [](const MessageBuffers &one, int peer) {
    return static_cast<char *>(one.recv) + one.bytes * size_t(peer);
  };
  std::vector<Outbound> sends;
  std::vector<Inbound> receives;
  for (int step = 1; step < size(); ++step) {
    int peer = (rank() + step) % size();
    int source = (rank() - step + size()) % size();
    for (const MessageBuffers &one : buffers) {
      sends.push_back({peer, from(one, peer), one.bytes});
      receives.push_back({source, to(one, source), one.bytes});
    }
  }
  for (const MessageBuffers &one : buffers)
    if (one.bytes)
      std::memmove(to(one, rank()), from(one, rank()), one.bytes);
  return transfer(sends, receives, guard);
}

Status MpiExchanger::allGather(const std::vector<MessageBuffers> &buffers,
                               const StreamRef &, ExchangeGuard &guard) {
  return spread(buffers, /*isGather=*/true, guard);
}

Status MpiExchanger::allToAll(const std::vector<MessageBuffers> &buffers,
                              const StreamRef &, ExchangeGuard &guard) {
  return spread(buffers, /*isGather=*/false, guard);
}

Status MpiExchanger::exchange(const std::vector<RowExchange> &rows,
                              const StreamRef &, ExchangeGuard &guard) {
  auto start = [](int32_t row, size_t rowBytes) {
    return size_t(row) * rowBytes;
  };
  std::vector<Outbound> sends;
  std::vector<Inbound> receives;
  for (int step = 1; step < size(); ++step) {
    int peer = (rank() + step) % size();
    int source = (rank() - step + size()) % size();
    for (const RowExchange &one : rows) {
      if (one.sendCounts[peer] > 0)
        sends.push_back({peer,
                         one.send + start(one.sendStarts[peer], one.rowBytes),
                         start(one.sendCounts[peer], one.rowBytes)});
      if (one.recvCounts[source] > 0)
        receives.push_back(
            {source, one.recv + start(one.recvStarts[source], one.rowBytes),
             start(one.recvCounts[source], one.rowBytes)});
    }
  }
  for (const RowExchange &one : rows) {
    if (one.sendCounts[rank()] != one.recvCounts[rank()])
      return makeError(MOERT_INTERNAL,
                       "rank %d gives itself %d rows, but takes %d", rank(),
                       one.sendCounts[rank()], one.recvCounts[rank()]);
    if (one.sendCounts[rank()] > 0)
      std::memcpy(one.recv + start(one.recvStarts[rank()], one.rowBytes),
                  one.send + start(one.sendStarts[rank()], one.rowBytes),
                  start(one.sendCounts[rank()], one.rowBytes));
  }
  return transfer(sends, receives, guard);
}

/// Messages of before have another tag than those that follow.
Status MpiExchanger::reset(Bootstrap &bootstrap) {
  // Ranks that were reset while others were not would be apart for ever.
  uint32_t mine = epoch + 1;
  std::vector<uint32_t> all(bootstrap.size());
  if (Status s = bootstrap.allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s.withPrefix("the transport over MPI cannot be reset");
  for (uint32_t other : all)
    epoch = std::max(epoch, other);
  isBroken = false;
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Making one
//===----------------------------------------------------------------------===//

/// For a group that was not made from a communicator: all processes of
/// MPI_COMM_WORLD, each one rank. Fills in who is which rank.
static Status checkWorld(const Library &mpi, Bootstrap &bootstrap,
                         std::vector<int> &processes) {
  int32_t mine[2] = {-1, 0};
  for (auto [result, call] :
       {std::pair<int, const char *>{mpi.commRank(mpi.commWorld, &mine[0]),
                                     "MPI_Comm_rank"},
        {mpi.commSize(mpi.commWorld, &mine[1]), "MPI_Comm_size"}})
    if (Status s = mpi.check(result, call); !s.isOk())
      return s;
  std::vector<int32_t> all(2 * size_t(bootstrap.size()));
  if (Status s = bootstrap.allGather(mine, sizeof(mine), all.data()); !s.isOk())
    return s;
  std::vector<bool> isTaken(bootstrap.size());
  for (int r = 0; r < bootstrap.size(); ++r) {
    int process = all[2 * r], count = all[2 * r + 1];
    if (count != bootstrap.size() || process < 0 || process >= count ||
        isTaken[process])
      return makeError(MOERT_UNAVAILABLE,
                       "the group of %d ranks is not all of MPI_COMM_WORLD "
                       "(rank %d is process %d of %d); make it from a "
                       "communicator that has just these ranks",
                       bootstrap.size(), r, process, count)
          .aboutPeer(r);
    isTaken[process] = true;
    processes.push_back(process);
  }
  return Status::ok();
}

/// The library and the communicator to copy.
static Status findOriginal(const ExchangerSetup &setup, const Library *&mpi,
                           Comm &original, std::vector<int> &processes) {
  if (std::string(setup.backend.name()) != "host")
    return makeError(MOERT_UNAVAILABLE,
                     "MPI moves rows in host memory, but the group is on the "
                     "%s backend; use NCCL (MOE_TRANSPORT=nccl)",
                     setup.backend.name());
  if (setup.bootstrap.localGroup())
    return Status(MOERT_UNAVAILABLE,
                  "ranks that are threads are one process of MPI; start a "
                  "process per rank");
  std::optional<LaunchedJob> job;
  std::string ignored;
  // Processes of mpirun can use MPI though nobody has yet.
  bool isJob = detectJob([](const char *name) { return std::getenv(name); },
                         job, ignored) &&
               job && job->launcher != "torchrun";
  auto library = isJob ? join(setup.bootstrap.timeoutSeconds()) : joinRunning();
  if (!library.isOk())
    return library.status();
  mpi = *library;
  if (auto *made = dynamic_cast<MpiBootstrap *>(&setup.bootstrap)) {
    original = made->comm().handle();
    for (int r = 0; r < made->size(); ++r)
      processes.push_back(r);
    return Status::ok();
  }
  original = mpi->commWorld;
  return Status::ok();
}

Expected<std::unique_ptr<Exchanger>>
moe::rt::createMpiExchanger(const ExchangerSetup &setup) {
  const Library *mpi = nullptr;
  Comm original = nullptr;
  std::vector<int> processes;
  Status status = findOriginal(setup, mpi, original, processes);
  // A rank without MPI does not come to the copy of the communicator.
  status = agreeStatus(setup.bootstrap, status);
  if (status.isOk() && processes.empty())
    status = agreeStatus(setup.bootstrap,
                         checkWorld(*mpi, setup.bootstrap, processes));
  if (!status.isOk())
    return status;
  auto copy =
      Communicator::copy(*mpi, original, setup.bootstrap.timeoutSeconds());
  if (Status s = agreeStatus(setup.bootstrap, copy.status()); !s.isOk())
    return s;
  int rank = setup.bootstrap.rank();
  size_t ranksHere = setup.hosts.ranksOf(setup.hosts.hostOf(rank)).size();
  auto made = std::make_unique<MpiExchanger>(copy.take(), std::move(processes),
                                             int(ranksHere));
  made->myRank = rank;
  return std::unique_ptr<Exchanger>(std::move(made));
}
