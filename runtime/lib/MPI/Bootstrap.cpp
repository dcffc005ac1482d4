//===- Bootstrap.cpp - a bootstrap over MPI's messages --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MpiBootstrap.h"
#include "Process.h"

#include "Bootstrap/DoublingGather.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/Mpi.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;
using namespace moe::rt::mpi;

/// Above this number of ranks, everybody calling everybody costs too much.
static constexpr int mostCalled = 256;

/// Each all-gather has a tag of its own, so that what is left of one that has
/// failed meets no other. MPI has tags up to 32767 at least. Roll calls have
/// the first odd one, receipts the others.
static int tagOf(uint64_t sequence) { return 2 + int(sequence % 16000) * 2; }

MpiBootstrap::MpiBootstrap(std::unique_ptr<Communicator> communicator)
    : communicator(std::move(communicator)),
      // Nobody knows yet how many are on this host.
      messenger(*this->communicator, size()), rollCall(*this->communicator) {}

namespace {
/// What each message begins with.
struct BlockHeader {
  uint64_t sequence;
  uint64_t bytes;
};
} // namespace

namespace {
/// Ends an all-gather when its time is up, or when that of another rank is.
class StepWatch : public Messenger::Watch {
public:
  StepWatch(double seconds, uint64_t sequence, RollCall *rollCall, int rank)
      : seconds(seconds), deadline(seconds), sequence(sequence),
        rollCall(rollCall), rank(rank) {}

  Status check(int peer) override {
    isLate = deadline.isOver() || (rollCall && rollCall->isCalled(sequence));
    if (!isLate)
      return Status::ok();
    return makeError(MOERT_TIMEOUT, "rank %d did not arrive within %g s", peer,
                     seconds)
        .aboutPeer(peer);
  }

  Status misfit(int peer, size_t expected, const std::string &sent) override {
    return makeError(MOERT_COLLECTIVE_MISMATCH,
                     "rank %d has sent %s bytes where rank %d expects %zu: "
                     "they run different programs, or are at different steps",
                     peer, sent.c_str(), rank, expected)
        .aboutPeer(peer)
        .expecting(format("%zu bytes", expected), sent + " bytes");
  }

  bool isLate = false;

private:
  double seconds;
  Deadline deadline;
  uint64_t sequence;
  RollCall *rollCall;
  int rank;
};
} // namespace

/// Each block has its header in front of it.
Status MpiBootstrap::gatherBlocks(std::vector<char> &blocks, size_t blockBytes,
                                  Messenger::Watch &watch) {
  return DoublingGather(rank(), size()).run([&](DoublingGather::Round round) {
    size_t bytes = round.moved * blockBytes;
    char *end = blocks.data() + size_t(round.have) * blockBytes;
    return messenger.transfer({{round.to, blocks.data(), bytes}},
                              {{round.from, end, bytes}}, tagOf(sequence),
                              watch);
  });
}

Status MpiBootstrap::allGather(const void *in, size_t bytes, void *out) {
  int ranks = size();
  bool isCalling = ranks <= mostCalled;
  BlockHeader header{++sequence, bytes};
  size_t blockBytes = sizeof(header) + bytes;
  std::vector<char> blocks(blockBytes * size_t(ranks));
  std::memcpy(blocks.data(), &header, sizeof(header));
  if (bytes)
    std::memcpy(blocks.data() + sizeof(header), in, bytes);
  StepWatch watch(timeout, sequence, isCalling ? &rollCall : nullptr, rank());
  auto isTooLate = [&] { return isCalling && rollCall.isCalled(sequence); };
  Status tooLate = makeError(
      MOERT_TIMEOUT, "rank %d arrived when others had given up waiting for it",
      rank());
  auto leave = [&] {
    // Whoever is missing here may be missing in MPI_Finalize.
    abandon();
    rollCall.end(sequence);
  };
  Status status;
  try {
    status = isTooLate() ? tooLate : gatherBlocks(blocks, blockBytes, watch);
  } catch (...) {
    leave();
    throw;
  }
  if (watch.isLate && isCalling) {
    if (std::vector<int> absent = rollCall.findAbsent(sequence);
        !absent.empty())
      status = makeError(MOERT_TIMEOUT, "%s did not arrive within %g s",
                         listRanks(absent).c_str(), timeout)
                   .aboutPeer(absent.front());
  } else if (status.isOk() && isTooLate()) {
    // What others had sent before was all that was needed.
    status = tooLate;
  }
  if (!status.isOk()) {
    leave();
    return status.withPrefix("bootstrap");
  }
  for (int i = 0; i < ranks; ++i) {
    int from = DoublingGather(rank(), ranks).owner(i);
    const char *block = blocks.data() + blockBytes * size_t(i);
    BlockHeader seen;
    std::memcpy(&seen, block, sizeof(seen));
    if (seen.sequence != sequence || seen.bytes != bytes)
      return makeError(MOERT_COLLECTIVE_MISMATCH,
                       "bootstrap: rank %d is at step %llu with %llu bytes, "
                       "rank %d at step %llu with %llu",
                       from, (unsigned long long)seen.sequence,
                       (unsigned long long)seen.bytes, rank(),
                       (unsigned long long)sequence, (unsigned long long)bytes)
          .aboutPeer(from);
    if (bytes)
      std::memcpy(static_cast<char *>(out) + bytes * size_t(from),
                  block + sizeof(seen), bytes);
  }
  return Status::ok();
}

Status MpiBootstrap::exchangeFds(int fd, std::vector<UniqueFd> &out) {
  return exchangeFdsOverSockets(*this, fd, out);
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

static Expected<std::unique_ptr<Bootstrap>>
makeBootstrap(const Library &library, Comm comm, double timeoutSeconds) {
  auto copy = Communicator::copy(library, comm, timeoutSeconds);
  if (!copy.isOk()) {
    if (copy.status().code() == MOERT_TIMEOUT)
      abandon();
    return copy.status();
  }
  std::unique_ptr<Bootstrap> made(new MpiBootstrap(copy.take()));
  made->setTimeout(timeoutSeconds);
  return made;
}

Expected<std::unique_ptr<Bootstrap>>
moe::rt::createMpiBootstrap(const void *comm, double timeoutSeconds) {
  auto library = joinRunning();
  if (!library.isOk())
    return library.status();
  Comm handle = nullptr;
  if (comm)
    std::memcpy(&handle, comm, sizeof(handle));
  return makeBootstrap(**library, handle, timeoutSeconds);
}

Expected<std::unique_ptr<Bootstrap>>
moe::rt::createMpiJobBootstrap(const LaunchedJob &job, double timeoutSeconds) {
  auto failed = [&](const Status &status) {
    return status.withPrefix(format("rank %d", job.rank)).of(job.rank);
  };
  auto library = join(timeoutSeconds);
  if (!library.isOk())
    return failed(library.status());
  int rank = -1, size = 0;
  const Library &mpi = **library;
  for (auto [result, call] :
       {std::pair<int, const char *>{mpi.commRank(mpi.commWorld, &rank),
                                     "MPI_Comm_rank"},
        {mpi.commSize(mpi.commWorld, &size), "MPI_Comm_size"}})
    if (Status s = mpi.check(result, call); !s.isOk())
      return failed(s);
  // An MPI that does not understand the launcher makes a job of its own of each
  // process.
  if (rank != job.rank || (job.size && size != job.size))
    return failed(makeError(
        MOERT_UNAVAILABLE,
        "MPI (%s) takes this process for rank %d of %d, but %s says that it is "
        "rank %d of %d; start the job with the mpirun of this MPI, or, where "
        "it was built with Slurm's PMIx, by srun --mpi=pmix",
        mpi.version.c_str(), rank, size, job.rankVariable.c_str(), job.rank,
        job.size));
  return makeBootstrap(mpi, mpi.commWorld, timeoutSeconds);
}

bool moe::rt::isMpiRunning() { return mpi::isRunning(); }
