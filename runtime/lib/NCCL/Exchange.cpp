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

#include "Agreement.h"
#include "CUDA/CudaBackend.h"
#include "LentCommunicator.h"
#include "OwnCommunicator.h"
#include "moe-runtime/SymmetricHeap.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::nccl;

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
                cuda::CudaBackend &backend, SymmetricHeap &heap,
                std::unique_ptr<Communicator> communicator)
      : library(library), group(group), backend(backend), heap(heap),
        communicator(std::move(communicator)), rank(group.bootstrap.rank()),
        size(group.bootstrap.size()) {}

  /// Collective: connects every rank with every other one.
  Status connect();

  const char *name() const override { return "NCCL"; }
  Status allGather(const std::vector<MessageBuffers> &buffers,
                   const StreamRef &stream, ExchangeGuard &guard) override;
  Status allToAll(const std::vector<MessageBuffers> &buffers,
                  const StreamRef &stream, ExchangeGuard &guard) override;
  Status exchange(const std::vector<RowExchange> &rows, const StreamRef &stream,
                  ExchangeGuard &guard) override;
  Status poll() override { return communicator->poll(); }
  void finished(const StreamRef &stream) override;
  void stop() override { communicator->abandon(); }
  Status reset(Bootstrap &bootstrap) override;

private:
  /// Queues one group of calls, which `add` makes for each distance between
  /// ranks: it sends to rank `to` and receives from rank `from`.
  template <typename Add>
  Status runGroup(const char *what, const StreamRef &stream,
                  ExchangeGuard &guard, Add add);
  Status moveOneByte(char *memory);
  void noteUse(const StreamRef &stream);
  bool mayBeWaiting();

  const Library &library;
  CommunicatorGroup group;
  cuda::CudaBackend &backend;
  SymmetricHeap &heap;
  std::unique_ptr<Communicator> communicator;
  const int rank, size;
  /// Streams that had an exchange and were not seen to be done since.
  std::vector<StreamRef> inUse;
};
} // namespace

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// Sends to and receives from each rank, in an order in which not all send to
/// one at first.
template <typename Add>
static Result queueGroup(const Library &library, int rank, int size, Add add) {
  CallGroup calls(library);
  for (int distance = 0; distance < size; ++distance)
    add(calls, (rank + distance) % size, (rank + size - distance) % size);
  return calls.end();
}

static bool areEmpty(const std::vector<MessageBuffers> &buffers) {
  return std::all_of(buffers.begin(), buffers.end(),
                     [](const MessageBuffers &one) { return one.bytes == 0; });
}

/// Rows that a rank keeps go through NCCL like all others: its kernel copies
/// them while it waits for other ranks, where a copy of the driver would come
/// before or after it, and be one more node of a graph.
template <typename Add>
Status NcclExchanger::runGroup(const char *what, const StreamRef &stream,
                               ExchangeGuard &guard, Add add) {
  if (!communicator->get())
    return communicator->poll();
  cuda::Current here(*group.gpu);
  noteUse(stream);
  return communicator->finish(queueGroup(library, rank, size, add), what,
                              guard);
}

/// By sends and receives, which the ranks are connected for: NCCL would connect
/// them for an all-gather of its own in the first one, by a way that depends on
/// the size, and wait for all ranks, without a bound where calls block.
Status NcclExchanger::allGather(const std::vector<MessageBuffers> &buffers,
                                const StreamRef &stream, ExchangeGuard &guard) {
  if (areEmpty(buffers))
    return Status::ok();
  cuda::StreamHandle queue = backend.handleOf(stream);
  return runGroup(
      "an all-gather", stream, guard,
      [&](CallGroup &calls, int target, int source) {
        for (const MessageBuffers &one : buffers) {
          if (!one.bytes)
            continue;
          auto *to = static_cast<char *>(one.recv);
          calls.add(library.send(one.send, one.bytes, typeInt8, target,
                                 communicator->get(), queue));
          calls.add(library.recv(to + one.bytes * size_t(source), one.bytes,
                                 typeInt8, source, communicator->get(), queue));
        }
      });
}

Status NcclExchanger::allToAll(const std::vector<MessageBuffers> &buffers,
                               const StreamRef &stream, ExchangeGuard &guard) {
  if (areEmpty(buffers))
    return Status::ok();
  cuda::StreamHandle queue = backend.handleOf(stream);
  return runGroup(
      "an all-to-all", stream, guard,
      [&](CallGroup &calls, int target, int source) {
        for (const MessageBuffers &one : buffers) {
          if (!one.bytes)
            continue;
          auto *from = static_cast<const char *>(one.send);
          auto *to = static_cast<char *>(one.recv);
          calls.add(library.send(from + one.bytes * size_t(target), one.bytes,
                                 typeInt8, target, communicator->get(), queue));
          calls.add(library.recv(to + one.bytes * size_t(source), one.bytes,
                                 typeInt8, source, communicator->get(), queue));
        }
      });
}

Status NcclExchanger::exchange(const std::vector<RowExchange> &rows,
                               const StreamRef &stream, ExchangeGuard &guard) {
  cuda::StreamHandle queue = backend.handleOf(stream);
  return runGroup(
      "an exchange of rows", stream, guard,
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

void NcclExchanger::noteUse(const StreamRef &stream) {
  auto isSame = [&](const StreamRef &other) {
    return backend.handleOf(other) == backend.handleOf(stream);
  };
  if (std::none_of(inUse.begin(), inUse.end(), isSame))
    inUse.push_back(stream);
}

void NcclExchanger::finished(const StreamRef &stream) {
  inUse.erase(std::remove_if(inUse.begin(), inUse.end(),
                             [&](const StreamRef &other) {
                               return backend.handleOf(other) ==
                                      backend.handleOf(stream);
                             }),
              inUse.end());
}

//===----------------------------------------------------------------------===//
// Connections
//===----------------------------------------------------------------------===//

/// NCCL connects two ranks when the first of them sends to the other one, in a
/// call that waits for both; with a communicator that blocks, which one that is
/// lent mostly is, without a bound. So that is done here, on a thread that can
/// be left behind. Afterwards calls only queue work.
Status NcclExchanger::moveOneByte(char *memory) {
  Look look = communicator->onThread(
      [&library = library, rank = rank, size = size, memory,
       comm = communicator->get(), queue = backend.handleOf(StreamRef{})] {
        return queueGroup(
            library, rank, size, [&](CallGroup &calls, int target, int source) {
              calls.add(library.send(memory + target, 1, typeInt8, target, comm,
                                     queue));
              calls.add(library.recv(memory + size + source, 1, typeInt8,
                                     source, comm, queue));
            });
      });
  bool isQueued = false;
  return communicator->completeTogether(
      [&]() -> Result {
        Result now = isQueued ? Result(success) : look();
        if (now != success)
          return now;
        isQueued = true;
        auto done = backend.isDone(StreamRef{});
        return !done.isOk() ? Result(unhandledCudaError)
               : *done      ? Result(success)
                            : Result(inProgress);
      },
      "connecting the ranks");
}

Status NcclExchanger::connect() {
  auto memory = heap.allocate(2 * size_t(size));
  if (Status s = agreeStatus(group.bootstrap, memory.status()); !s.isOk())
    return s;
  Status status = moveOneByte(*memory);
  if (status.isOk() && !communicator->isLent()) {
    status = communicator->makeBlocking();
    // What a child does not share with its parent is connected here.
    if (status.isOk())
      status = moveOneByte(*memory);
  }
  // A kernel that waits for a rank may write there at any time.
  if (status.isOk())
    (void)heap.free(*memory);
  return status;
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

/// Whether a kernel of this rank may wait for one that another rank never
/// queues, and would receive what belongs to a later exchange.
bool NcclExchanger::mayBeWaiting() {
  auto isBusy = [&](const StreamRef &stream) {
    auto done = backend.isDone(stream);
    return !done.isOk() || !*done;
  };
  // Streams of the caller may be gone; those who waited for them said so.
  return std::any_of(inUse.begin(), inUse.end(), [&](const StreamRef &stream) {
    return !stream.isOwn || isBusy(stream);
  });
}

Status NcclExchanger::reset(Bootstrap &bootstrap) {
  if (communicator->isLent()) {
    Status status = communicator->poll();
    if (status.isOk() && communicator->hasGivenUp())
      status = makeError(MOERT_PEER_FAILED,
                         "a call of NCCL was given up while it was under way");
    if (status.isOk() && mayBeWaiting())
      status = makeError(MOERT_PEER_FAILED,
                         "an exchange may still be under way: wait for its "
                         "stream with moert_context_synchronize first");
    if (!status.isOk())
      status = status.withMessage(
          status.message() + "; the communicator is lent, so its owner has to "
                             "make a new one, and a new group with it");
    return agreeStatus(bootstrap, status);
  }
  communicator->abandon();
  auto made = OwnCommunicator::create(library, group);
  if (!made.isOk())
    return made.status();
  communicator = made.take();
  inUse.clear();
  return connect();
}

Expected<std::unique_ptr<Exchanger>>
moe::rt::createNcclExchanger(const ExchangerSetup &setup) {
  auto library = openTogether(setup);
  if (!library.isOk())
    return library.status();
  auto &backend = static_cast<cuda::CudaBackend &>(setup.backend);
  double timeout = setup.bootstrap.timeoutSeconds();
  CommunicatorGroup group{setup.bootstrap, setup.hosts, backend.gpuOfRank(),
                          setup.setupSeconds, timeout};
  auto made = setup.lent.hasNccl
                  ? LentCommunicator::borrow(**library, group, setup.lent.nccl)
                  : OwnCommunicator::create(**library, group);
  if (!made.isOk())
    return made.status();
  auto exchanger = std::make_unique<NcclExchanger>(**library, group, backend,
                                                   setup.heap, made.take());
  if (Status s = exchanger->connect(); !s.isOk())
    return s;
  return std::unique_ptr<Exchanger>(std::move(exchanger));
}
