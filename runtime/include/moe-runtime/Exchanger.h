//===- Exchanger.h - messages between ranks ---------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The interface between the runtime's core and a transport: what performs the
/// exchanges of artifacts whose manifest says "transport": "messages". A
/// transport moves bytes and knows nothing of ops; why a wait ends early is the
/// guard's business.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_EXCHANGER_H
#define MOE_RUNTIME_EXCHANGER_H

#include "moe-runtime/Backend.h"
#include "moe-runtime/HostMap.h"
#include "moe-runtime/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

class GroupControl;
class SymmetricHeap;

/// What an exchange that waits for a rank asks from time to time.
class ExchangeGuard {
public:
  virtual ~ExchangeGuard();
  /// Not Ok when the group has failed, `peer` is gone, or time is up. Cheap
  /// enough for every few microseconds.
  virtual Status check(int peer) = 0;
  /// Some bytes have moved, to or from any rank: the time begins anew, so that
  /// a large exchange may take longer than the time-out.
  virtual void progressed() {}
};

/// Buffers of an all-gather or an all-to-all: `bytes` go to each rank, and come
/// from each.
struct MessageBuffers {
  const void *send;
  void *recv;
  size_t bytes;
};

/// Rows of a pair of buffers: as of moert_exchange_rows. The tables have an
/// entry per rank.
struct RowExchange {
  const char *send;
  const int32_t *sendStarts, *sendCounts;
  char *recv;
  const int32_t *recvStarts, *recvCounts;
  size_t rowBytes;
};

/// One rank's end of a transport. Operations are collective, are called by one
/// thread at a time, and run on `stream` where the backend has streams. After
/// an error an exchanger is of no further use until `reset`.
class Exchanger {
public:
  virtual ~Exchanger();

  /// "shared memory", "MPI", "NCCL": for messages.
  virtual const char *name() const = 0;

  /// Of any number of buffers at once, as is `exchange`.
  virtual Status allGather(const std::vector<MessageBuffers> &buffers,
                           const StreamRef &stream, ExchangeGuard &guard) = 0;
  virtual Status allToAll(const std::vector<MessageBuffers> &buffers,
                          const StreamRef &stream, ExchangeGuard &guard) = 0;
  virtual Status exchange(const std::vector<RowExchange> &rows,
                          const StreamRef &stream, ExchangeGuard &guard) = 0;

  /// What went wrong outside of a call, such as an asynchronous error of NCCL;
  /// Ok where there is nothing. Cheap, and never blocks. The guard of a call
  /// asks for it as well.
  virtual Status poll() { return Status::ok(); }

  /// All work on `stream` has been seen to be done.
  virtual void finished(const StreamRef &stream) { (void)stream; }

  /// Ends operations that are queued on a device, as far as that is possible:
  /// the group has failed, and they may wait for ranks that never come. Only
  /// reset follows. Not collective.
  virtual void stop() {}

  /// Collective through the bootstrap: makes the transport usable again after
  /// an error. Messages of broken exchanges are gone.
  virtual Status reset(Bootstrap &bootstrap) = 0;
};

/// Communicators of the caller's, for transports to use in place of their own.
/// They outlive the context, and are never aborted or destroyed by it.
struct LentCommunicators {
  bool hasNccl = false; ///< `nccl` is to be used, and is not to be null
  void *nccl = nullptr; ///< an ncclComm_t
};

/// What a transport is made from. All of it outlives the exchanger.
struct ExchangerSetup {
  Bootstrap &bootstrap;
  const HostMap &hosts;
  Backend &backend;
  GroupControl &control;
  SymmetricHeap &heap;
  LentCommunicators lent;
  /// How long ranks may take to meet and to connect.
  double setupSeconds = 60;
};

/// The transport for the group; MOERT_UNAVAILABLE when there is none, with what
/// the reader has to install or change. `MOE_TRANSPORT` (shared, mpi, nccl)
/// pins it. Collective.
Expected<std::unique_ptr<Exchanger>>
createExchanger(const ExchangerSetup &setup);

/// Through the symmetric heap: ranks of one host, on the host backend.
Expected<std::unique_ptr<Exchanger>>
createSharedMemoryExchanger(const ExchangerSetup &setup);
/// Two-sided messages of an MPI library that is opened at run time.
Expected<std::unique_ptr<Exchanger>>
createMpiExchanger(const ExchangerSetup &setup);
/// Between GPUs, by a libnccl.so.2 that is opened at run time.
Expected<std::unique_ptr<Exchanger>>
createNcclExchanger(const ExchangerSetup &setup);

} // namespace moe::rt

#endif // MOE_RUNTIME_EXCHANGER_H
